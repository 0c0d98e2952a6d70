"""Ratios of this project to its peers, and the cost of its step against the work.

    make benchmark                     # or python benchmarks/benchmark.py [--parts step loader]
    python benchmarks/lightly_env.py FOLDER && make benchmark LIGHTLY=FOLDER

Every ratio is measured in one process, the peers in turn, after their results were found equal.
Processor time of one thread where nothing else is said, which other work on the machine changes
little. Writes ``benchmark.json``, ``benchmark.md`` and ``benchmark.png``.
"""

from __future__ import annotations

import saip.startup

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before torch is imported: the figures are those of one core.
os.environ['OMP_NUM_THREADS'] = os.environ['MKL_NUM_THREADS'] = '1'

import cv2
import torch
from machine import machine
from mmengine.logging import MMLogger
from suite.chart import draw
from suite.figures import Figure, Part, as_json, as_markdown
from suite.sizes import FULL, QUICK, Sizes

from saip.datasets.files import write_atomic

PARTS = {
    'step': 'suite.step',
    'parts': 'suite.parts_of_step',
    'mmpretrain': 'suite.stock',
    'loader': 'suite.loader',
    'counts': 'suite.counts',
    'compiled': 'suite.compiled_counts',
    'lightly': 'suite.lightly',
    'shared': 'suite.shared_cpu',
    'curves': 'suite.curves',
    'processes': 'suite.processes',
}
ON_A_GPU = {
    'images_per_second': ('images/s, ViT-Tiny, preset saip, 256 a step', '2,500 on an H100'),
    'views_share': ('share of the step that is views', 'at most 10 %'),
    'synchronizations': ('synchronizations of a step', '0'),
    'peak_memory': ('peak memory of 256 images a step', 'at most 22 GiB'),
    'lightly_images': ("images/s against lightly-train's DINO", 'at least 2 times'),
}
GPU_GROUP = 'On a GPU'


def measure(names: list[str], sizes: Sizes) -> Iterator[Part]:
    """One part after the other; yields what has been found so far after each."""
    whole = Part()
    for name in names:
        start = time.perf_counter()
        part = importlib.import_module(PARTS[name]).measure(sizes)
        whole.figures += part.figures
        whole.curves += part.curves
        print(f'{name}: {time.perf_counter() - start:.0f} s', flush=True)
        for figure in part.figures:
            print(f'  {figure.what}: {figure.written()}', flush=True)
        missing = [
            Figure.missing(name, what, 'benchmarks/device.py', goal=goal, group=GPU_GROUP)
            for name, (what, goal) in ON_A_GPU.items()
        ]
        yield Part([*whole.figures, *missing], whole.curves)


def about(start: float, load: float) -> dict[str, Any]:
    """The machine and what else it did."""
    found = machine()
    return {
        **found,
        'cores': saip.startup.usable_cores(),
        'load before': round(load, 1),
        'minutes': round((time.perf_counter() - start) / 60, 1),
    }


def write(part: Part, facts: dict[str, Any], folder: Path) -> None:
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(part, folder / 'benchmark.png')
    text = json.dumps(as_json(part, facts), indent=2)
    write_atomic(folder / 'benchmark.json', f'{text}\n'.encode())
    report = as_markdown(part, facts, 'Benchmark', 'benchmark.png')
    write_atomic(folder / 'benchmark.md', report.encode())


def main(arguments: list[str] | None = None) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'))
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--quick', action='store_true', help='tiny sizes: does it run?')
    parser.add_argument('--lightly', type=Path, metavar='FOLDER', help='an environment with it')
    args = parser.parse_args(arguments)
    if args.lightly is not None and not (args.lightly / 'bin/python').is_file():
        parser.error(
            f'--lightly: {args.lightly}/bin/python is not there; lightly_env.py makes it'
        )
    start, load = time.perf_counter(), os.getloadavg()[0]
    MMLogger.get_instance('mmengine', log_level='WARNING')  # not a line for every weight
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sizes = replace(QUICK if args.quick else FULL, lightly=args.lightly)
    for found in measure(args.parts, sizes):
        write(found, about(start, load), args.out)
    print(f'{args.out}/benchmark.md, .json, .png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
