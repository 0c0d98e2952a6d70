"""A step of the quickstart's size beside a busy process, by the settings of ``saip.startup``.

As a program this is one peer: it makes as many steps as each line says.
"""

from __future__ import annotations

import saip.startup
from saip.startup import usable_cores

import os
import statistics
import sys

from suite.figures import Figure, Part
from suite.peers import Peer, answer_times, busy
from suite.sizes import Sizes

FREE = 1.5
"""Load up to which the cores count as free: the parts before have kept one busy."""

GROUP = 'A step of the quickstart beside other processes, all cores, wall clock'
SETTINGS = {
    'fitted': saip.startup.WAITING,
    'short': saip.startup.WAITING,
    'long': {'GOMP_SPINCOUNT': '300000', 'KMP_BLOCKTIME': '200'},
}
"""How threads wait: as every tool here sets it, and as the libraries do by themselves. The first
takes as many threads as cores are idle, as the quickstart does, the others one for each core."""


def serve(setting: str, encoder: str, batch: int) -> None:
    """Make as many steps as each line says; answer with the seconds of one."""
    import torch

    from saip.quickstart.idle_cores import count_idle_cores, fit_threads
    from suite.training import build, images, model_config, train_step, wrapper_of

    preset = 'saip' if encoder == 'tiny' else 'saip-small'
    model = build(model_config(preset, encoder))
    wrapper, data = wrapper_of(model, 'bfloat16'), images(batch)
    most = torch.get_num_threads()

    def fit() -> None:
        if setting == 'fitted':
            torch.set_num_threads(fit_threads(most, count_idle_cores()))

    answer_times(lambda number: train_step(model, wrapper, data, number), before=fit)


def measure(sizes: Sizes) -> Part:
    """Both settings in turn, alone and beside one busy process."""
    cores = usable_cores()
    threads = {name: str(cores) for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')}
    load = os.getloadavg()[0]
    peers = {
        name: Peer.of_module(
            'suite.shared_cpu',
            name,
            sizes.shared_encoder,
            sizes.shared_batch,
            **threads,
            **waiting,
        )
        for name, waiting in SETTINGS.items()
    }
    times: dict[tuple[str, int], list[float]] = {}
    try:
        for peer in peers.values():
            peer.wait()
        for _ in range(sizes.rounds):
            for others in (0, 1):
                with busy(others):
                    for name, peer in peers.items():
                        spent = float(peer.ask(sizes.shared_steps))
                        times.setdefault((name, others), []).append(spent)
    finally:
        for peer in peers.values():
            peer.close()
    median = {key: statistics.median(values) for key, values in times.items()}
    note = f'{cores} cores; load before: {load:.1f}'
    if load > FREE:
        note += '; other work kept the cores busy, so that nothing ran alone'
    return Part(
        [
            Figure(
                'beside_one_busy',
                'beside one busy process, against alone, with as many threads as cores are idle',
                median['fitted', 1] / median['fitted', 0],
                goal='at most 2.2 times',
                note=note,
                group=GROUP,
            ),
            Figure(
                'beside_one_busy_all_threads',
                'the same with a thread for each core',
                median['short', 1] / median['short', 0],
                note=note,
                group=GROUP,
            ),
            Figure(
                'beside_one_busy_by_default',
                'the same with threads that spin as long as the libraries let them',
                median['long', 1] / median['long', 0],
                note=note,
                group=GROUP,
            ),
            Figure(
                'short_spin_alone',
                'the short spin, against the long one, alone',
                median['short', 0] / median['long', 0],
                goal='at most 1.05 times',
                group=GROUP,
            ),
            Figure('quickstart_step', 'a step alone', median['fitted', 0], 's', group=GROUP),
        ]
    )


if __name__ == '__main__':
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
