"""Compute a skipped step of a pretraining again: its images, views, losses and gradients.

python tools/analysis_tools/replay_step.py CONFIG WORK_DIR [--line -1] [--checkpoint FILE]
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import math
from pathlib import Path

from saip.analysis.replay import replay, skipped_rows
from saip.errors import InputError, one_line_errors
from saip.visualization.png import write_png


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Compute a skipped step again')
    parser.add_argument('config', type=Path, help='pretraining config')
    parser.add_argument('work_dir', type=Path, help='folder of the run')
    parser.add_argument(
        '--line',
        type=int,
        default=-1,
        help='of skipped_steps.jsonl, from 0; a step has one for each process (default: the last)',
    )
    parser.add_argument(
        '--checkpoint', type=Path, help='weights (default: the newest of the run)'
    )
    parser.add_argument('--out', type=Path, help='folder for images (default: WORK_DIR/replay)')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Replay."""
    args = parse_args()
    rows = skipped_rows(args.work_dir)
    if not -len(rows) <= args.line < len(rows):
        raise InputError(f'--line {args.line}: skipped_steps.jsonl has {len(rows)} lines')
    row = rows[args.line]
    out = args.out or args.work_dir / 'replay'
    print(f'not finite then: {", ".join(row["not_finite"])}')
    for found in replay(args.config, args.work_dir, row, args.checkpoint):
        print(f'iteration {found.iteration}, process {found.rank}:')
        values = {**found.terms, 'gradient norm': found.gradient_norm}
        for name, value in values.items():
            print(f'  {name:<32}{value:.6g}{"" if math.isfinite(value) else "   NOT FINITE"}')
        for number, image in enumerate(found.images):
            path = out / f'iteration_{found.iteration}_rank_{found.rank}_{number}.png'
            write_png(path, image)
            print(f'  {path}')


if __name__ == '__main__':
    main()
