"""A step of the quickstart in one process and in two, which reduce their gradients.

As a program this is one process: it makes as many steps as each line says.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import socket
import statistics
import sys

from suite.figures import Curve, Figure, Part
from suite.peers import Peer, answer_times
from suite.sizes import Sizes

GROUP = 'A step of the quickstart in processes of one thread, float32, wall clock'


def serve(encoder: str, batch: int, rank: int, world: int, port: int) -> None:
    """Make as many steps as each line says; answer with the seconds of one."""
    import torch
    from mmengine.model import MMDistributedDataParallel

    from suite.training import build, images, model_config, progress_of, total, wrapper_of

    preset = 'saip' if encoder == 'tiny' else 'saip-small'
    model = build(model_config(preset, encoder))
    wrapper, data, trained = wrapper_of(model, 'float32'), images(batch), model
    if world > 1:
        address = f'tcp://127.0.0.1:{port}'
        torch.distributed.init_process_group(
            'gloo', init_method=address, rank=rank, world_size=world
        )
        trained = MMDistributedDataParallel(model)

    def step(number: int) -> None:
        model.begin_step(progress_of(number))
        with wrapper.optim_context(trained):
            prepared = model.data_preprocessor(data, training=True)
            losses = trained(**prepared, mode='loss')
        wrapper.update_params(total(losses))

    answer_times(step)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def start(sizes: Sizes, world: int) -> list[Peer]:
    """Processes of one group."""
    port = free_port()
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    work = (sizes.shared_encoder, sizes.process_batch)
    return [
        Peer.of_module('suite.processes', *work, rank, world, port, **threads)
        for rank in range(world)
    ]


def ask(group: list[Peer], steps: int) -> float:
    """Seconds of a step of the slowest."""
    for peer in group:
        peer.write(steps)
    return max(float(peer.wait()) for peer in group)


def measure(sizes: Sizes) -> Part:
    """One process and two in turn."""
    groups = {world: start(sizes, world) for world in (1, 2)}
    times: dict[int, list[float]] = {world: [] for world in groups}
    try:
        for peer in (peer for group in groups.values() for peer in group):
            peer.wait()
        for _ in range(sizes.curve_rounds):
            for world, group in groups.items():
                times[world].append(ask(group, sizes.process_steps))
    finally:
        for peer in (peer for group in groups.values() for peer in group):
            peer.close()
    median = {world: statistics.median(values) for world, values in times.items()}
    speed = {world: world * sizes.process_batch / seconds for world, seconds in median.items()}
    return Part(
        [
            Figure(
                'two_processes',
                'images a second of two processes, against one',
                speed[2] / speed[1],
                note='2 times where a core is free for each',
                group=GROUP,
            )
        ],
        [Curve('processes', 'processes', 'images/s', [(str(n), x) for n, x in speed.items()])],
    )


if __name__ == '__main__':
    serve(sys.argv[1], *map(int, sys.argv[2:]))
