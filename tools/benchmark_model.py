"""Measure exported models beside the checkpoint that they come from.

    python tools/benchmark_model.py BACKBONE.pth encoder.onnx encoder-int8.onnx --out FOLDER

Prints one table: size, memory, latency by one thread and by all, images per second, retrieval; says
where int8 loses; see docs/deployment.md.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
import platform
from pathlib import Path

from saip.datasets.files import write_atomic
from saip.deploy.benchmark import measure, record, table, verdicts
from saip.deploy.plot import draw_benchmark
from saip.errors import InputError, one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Measure exported models')
    parser.add_argument(
        'files', nargs='+', type=Path, metavar='FILE', help='.onnx, .xml, or a checkpoint'
    )
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 8], metavar='B')
    parser.add_argument('--repeats', type=int, default=50, help='rounds (default 50)')
    parser.add_argument(
        '--retrieval',
        type=Path,
        metavar='FOLDER',
        help='persons in Market-1501 layout to retrieve (default: synthetic persons)',
    )
    parser.add_argument(
        '--out', type=Path, metavar='FOLDER', help='also write table, record and plot here'
    )
    args = parser.parse_args()
    if args.repeats < 1 or min(args.batches) < 1:
        raise InputError('--repeats and --batches count from 1')
    return args


@one_line_errors()
def main() -> None:
    """Measure, print, write."""
    args = parse_args()
    rows = measure(args.files, args.batches, args.repeats, args.retrieval)
    text = '\n\n'.join([machine(), table(rows), *verdicts(rows)])
    print(text)
    if args.out is None:
        return
    content = {'machine': machine(), 'repeats': args.repeats, 'rows': record(rows)}
    write_atomic(args.out / 'benchmark.json', f'{json.dumps(content, indent=2)}\n'.encode())
    write_atomic(args.out / 'benchmark.md', f'{text}\n'.encode())
    write_atomic(args.out / 'benchmark.png', draw_benchmark(rows))


def machine() -> str:
    """Name of the processor, and of the system."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    name = names[0] if names else platform.processor() or platform.machine()
    return f'{name}, {max(1, len(names))} cores, {platform.system()}'


if __name__ == '__main__':
    main()
