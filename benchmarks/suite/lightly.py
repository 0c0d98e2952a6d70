"""DINO here against DINO by lightly-train, on the same folder and the same work."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from bench_loader import encode_images

from suite.figures import Figure, Part
from suite.interleaved import Ratio
from suite.peers import BENCHMARKS, Peer
from suite.same_work import PROTOTYPES
from suite.sizes import Sizes

GROUP = 'DINO against lightly-train 0.18: ViT-Tiny, 256x128, six local crops, 65,536 prototypes'
WHAT = 'DINO by lightly-train on the same folder, against preset dino with as many views'
HINT = '--lightly names no environment; `python benchmarks/lightly_env.py FOLDER` makes one'
THREADS = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
QUIET = {'LIGHTLY_TRAIN_EVENTS_DISABLED': '1', 'LIGHTLY_TRAIN_LOG_LEVEL': 'WARNING'}


def measure(sizes: Sizes) -> Part:
    """Processor seconds of an image, peers in turn; nothing without an environment."""
    if sizes.lightly is None:
        goal = 'at least 1.2 times'
        return Part([Figure.missing('over_lightly', WHAT, HINT, goal=goal, group=GROUP)])
    python = sizes.lightly / 'bin/python'
    return compare(python, sizes.lightly_batch, sizes.lightly_steps, sizes.rounds, 'cpu', 0)


def compare(
    python: Path, batch: int, steps: int, rounds: int, device: str, workers: int
) -> Part:
    """Train on both sides in turn.

    Raises:
        AssertionError: the two sides do not do the same work: parameters differ by more than a
            hundredth, or a first loss is not that of random scores.
    """
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / 'images'
        images.mkdir()
        for number, data in enumerate(encode_images(max(64, 4 * batch))):
            (images / f'{number}.jpg').write_bytes(data)
        variables = {**(THREADS if device == 'cpu' else {}), **QUIET}
        variables['LIGHTLY_TRAIN_CACHE_DIR'] = folder  # removed with what it leaves there
        work = (batch, device, workers)
        out = Path(folder) / 'out'
        command = [str(python), '-m', 'suite.lightly_peer', str(images), str(out)]
        peers = {
            'ours': Peer.of_module('suite.dino_peer', images, *work, **variables),
            'theirs': Peer([*command, *map(str, work)], variables, [BENCHMARKS]),
        }
        try:
            described = {name: json.loads(peer.wait()) for name, peer in peers.items()}
            check_same(described)
            times = in_turn(peers, steps, rounds)
        finally:
            for peer in peers.values():
                peer.close()
    return Part(figures_of(times, described, batch, device))


def check_same(described: dict[str, dict[str, float]]) -> None:
    """Compare sizes and first losses, see :func:`compare`."""
    ours, theirs = described['ours'], described['theirs']
    shares = ours['parameters'] / theirs['parameters']
    assert abs(shares - 1) < 0.01, f'parameters: {described}'
    for each in (ours, theirs):
        assert abs(each['loss'] / math.log(PROTOTYPES) - 1) < 0.1, f'first loss: {described}'


def in_turn(
    peers: dict[str, Peer], steps: int, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Processor and wall-clock seconds of an image, by peer; a round before them warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
    for number in range(rounds + 1):
        for name, peer in peers.items():
            spent = json.loads(peer.ask(steps))
            if number:
                times[name].append(tuple(spent))
    return times


def figures_of(times: Any, described: Any, batch: int, device: str) -> list[Figure]:
    """Processor time on a CPU, wall-clock time on a GPU."""
    clock, goal = (0, 'at least 1.2 times') if device == 'cpu' else (1, 'at least 2 times')
    unit = 'CPU seconds an image, one thread' if device == 'cpu' else 'seconds an image'
    ours, theirs = ([row[clock] for row in times[name]] for name in ('ours', 'theirs'))
    ratio = Ratio.of([b / a for a, b in zip(ours, theirs, strict=True)])
    sides = ', '.join(
        f'{name} {row["parameters"] / 1e6:.1f} M parameters, first loss {row["loss"]:.2f}'
        for name, row in described.items()
    )
    name = torch.cuda.get_device_name() if device == 'cuda' else 'float32'
    note = f'{batch} images a step, {name}; {sides}'
    return [
        Figure.of_ratio('over_lightly', WHAT, ratio, goal=goal, note=note, group=GROUP),
        Figure('dino_cost', 'here', statistics.median(ours), unit, group=GROUP),
        Figure('lightly_cost', 'lightly-train', statistics.median(theirs), unit, group=GROUP),
    ]
