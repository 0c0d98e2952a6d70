"""All that is measured on a GPU, in a few minutes.

``python benchmarks/device.py OUT [--device cuda] [--minutes 7]``, or, on a machine without the
OpenMMLab packages, ``benchmarks/device.sh``. The tests marked gpu, then speed, share of the views
and memory at 128, 256 and 512 images a step, kernels, recompilations, synchronizations, the wait
for data, lightly-train where it is installed, and the paper's other encoders. ``OUT/device.md`` and
``.json`` are written after every section; one that fails or for which no time is left says so
there.
"""

from __future__ import annotations

import saip.startup

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from machine import machine
from mmengine.logging import MMLogger
from suite import data_wait, device_counts, lightly
from suite.device_step import Setting, speed
from suite.figures import Figure, Part, as_json, as_markdown
from suite.training import COMPILED

from saip.datasets.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
CONVOLUTIONAL = ('starnet-s3', 'tinyvit-5m')
"""The other encoders of the paper."""

Section = Callable[[], list[Figure]]


def settings(device: str, quick: bool) -> dict[int, list[Setting]]:
    """By number of images, without compilation and with it."""
    encoder = 'tiny' if quick else 'vit-tiny-p16'
    warm_up, steps = (1, 1) if quick else (12, 20)
    return {
        batch: [
            Setting(encoder, device, batch, compiled, warm_up, steps)
            for compiled in ((False, True) if COMPILED else (None,))
        ]
        for batch in ((2, 3) if quick else (256, 128, 512))
    }


def run_tests() -> list[Figure]:
    """The tests marked gpu."""
    command = [sys.executable, '-m', 'pytest', '-q', '-m', 'gpu', 'tests/test_gpu.py']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
    failed = [line for line in lines if line.startswith(('FAILED', 'ERROR'))]
    note = '; '.join([lines[-1], *failed[:3]])
    group = 'Tests marked gpu'
    what = 'exit status (5: no test, for want of a GPU)'
    return [Figure('tests', what, done.returncode, '', goal='0', note=note, group=group)]


def compare_lightly(args: argparse.Namespace, workers: int) -> list[Figure]:
    """DINO by lightly-train, in the environment of an option or in this one."""
    python = args.lightly and args.lightly / 'bin/python'
    if python is None and importlib.util.find_spec('lightly_train') is not None:
        python = Path(sys.executable)
    if python is None:
        reason = f'not installed here; {lightly.HINT}'
        return [Figure.missing('over_lightly', lightly.WHAT, reason, group=lightly.GROUP)]
    batch, steps, rounds = (2, 1, 1) if args.quick else (256, 5, 3)
    return lightly.compare(python, batch, steps, rounds, args.device, workers).figures


def sections(args: argparse.Namespace) -> Iterator[tuple[str, Section]]:
    """In the order of what is worth most, should the time not do."""
    workers = 0 if args.quick else saip.startup.usable_cores()
    by_batch = settings(args.device, args.quick)
    first, *others = by_batch
    yield 'tests', run_tests
    for setting in by_batch[first]:
        yield f'speed, {setting.title}', lambda setting=setting: speed(setting)
    for setting in by_batch[first]:
        steps = 2 if args.quick else device_counts.STEPS
        yield (
            f'counts, {setting.title}',
            lambda setting=setting, steps=steps: device_counts.count(setting, steps),
        )
    yield 'loader', lambda: [data_wait.measure(by_batch[first][-1], workers)]
    for batch in others:
        for setting in by_batch[batch]:
            yield f'speed, {setting.title}', lambda setting=setting: speed(setting)
    yield 'lightly-train', lambda: compare_lightly(args, workers)
    for encoder in ('patch-resnet',) if args.quick else CONVOLUTIONAL:
        setting = replace(by_batch[others[0]][0], encoder=encoder)
        yield f'speed, {setting.title}', lambda setting=setting: speed(setting)


def measured(name: str, section: Section, left: float) -> list[Figure]:
    """The figures of a section, or why there are none."""
    if left <= 0:
        return [Figure.missing(name, name, 'no time was left', group='Not measured')]
    try:
        return section()
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0][:300]
        return [Figure.missing(name, name, reason, group='Not measured')]
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; 1 if one has failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path)
    parser.add_argument('--device', choices=('cuda', 'cpu'), default='cuda')
    parser.add_argument('--quick', action='store_true', help='tiny sizes: does it run?')
    parser.add_argument('--minutes', type=float, default=7.0, help='no section begins later')
    parser.add_argument('--lightly', type=Path, metavar='FOLDER', help='an environment with it')
    args = parser.parse_args(arguments)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('torch finds no GPU; --device cpu --quick tries the script without one')
    MMLogger.get_instance('mmengine', log_level='WARNING')
    args.out.mkdir(parents=True, exist_ok=True)
    start, whole = time.perf_counter(), Part()
    for name, section in sections(args):
        begun = time.perf_counter()
        figures = measured(name, section, 60 * args.minutes - (begun - start))
        whole.figures += figures
        about = {**machine(), 'seconds': round(time.perf_counter() - start)}
        report = as_markdown(whole, about, 'Measurements on a device', None)
        write_atomic(args.out / 'device.md', report.encode())
        text = json.dumps(as_json(whole, about), indent=2)
        write_atomic(args.out / 'device.json', f'{text}\n'.encode())
        print(f'{name}: {time.perf_counter() - begun:.0f} s', flush=True)
        for figure in figures:
            value = figure.note if figure.value is None else figure.written()
            print(f'  {figure.what}: {value}', flush=True)
    return int(any(f.group == 'Not measured' for f in whole.figures))


if __name__ == '__main__':
    sys.exit(main())
