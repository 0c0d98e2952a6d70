"""Score the frozen features of a checkpoint beside what they should beat.

    python tools/eval_frozen.py work_dirs/RUN/epoch_300.pth data/market1501
    python tools/eval_frozen.py BACKBONE.pth FOLDER_OF_PICTURES --json result.json
    python tools/eval_frozen.py random data/market1501

A folder in Market-1501 layout gives Rank-1, Rank-5 and mAP across cameras; any other folder of
pictures gives two-view recall, which needs no labels.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import torch

from saip.datasets.files import write_atomic
from saip.engine.launch import StartError
from saip.evaluation.candidates import find_candidates, open_pictures
from saip.evaluation.frozen import evaluate_frozen
from saip.evaluation.table import format_table


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Score the frozen features of a checkpoint')
    parser.add_argument(
        'checkpoint',
        metavar='CKPT',
        help='a training checkpoint, an exported backbone, random, histogram or pixels',
    )
    parser.add_argument(
        'data', metavar='DATA', help='a folder in Market-1501 layout, or any folder of pictures'
    )
    parser.add_argument('--config', help='pretraining config (default: the one in CKPT)')
    parser.add_argument(
        '--holdout',
        type=float,
        default=0,
        help='of unlabelled pictures take only those that a training with this holdout leaves '
        'out: a share below 1, or their number (default: all pictures)',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2, help='processes that read pictures')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 (default: a GPU if there is one)')
    parser.add_argument('--json', type=Path, metavar='OUT', help='also write the results here')
    args = parser.parse_args()
    try:
        torch.empty(0, device=args.device)
    except (RuntimeError, AssertionError) as error:  # both, by kind of device and build
        parser.error(f'--device {args.device}: {str(error).splitlines()[0]}')
    if args.batch_size < 1 or args.workers < 0:
        parser.error('--batch-size must be at least 1, --workers at least 0')
    return args


def main() -> int:
    """Run the tool; return the exit status."""
    args = parse_args()
    try:
        candidates = find_candidates(args.checkpoint, args.config)
        result = evaluate_frozen(
            candidates.encoders,
            open_pictures(args.data, candidates.size, args.holdout),
            candidates.preprocessor,
            batch_size=args.batch_size,
            num_workers=args.workers,
            device=args.device,
        )
        print(format_table(result))
        if args.json:
            inputs = {'checkpoint': args.checkpoint, 'data': args.data}
            record = {**inputs, 'about': candidates.about, **result}
            write_atomic(args.json, f'{json.dumps(record, indent=2)}\n'.encode())
    except (ValueError, OSError, StartError) as error:
        # An error in a data worker arrives as a traceback whose last line is 'CLASS: message'.
        message = str(error).strip().splitlines()[-1]
        print(f'eval_frozen: {re.sub(r"^[A-Za-z_.]*Error: ", "", message)}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
