"""Print parameters and floating-point operations of encoders, or of a pretraining step.

    python tools/analysis_tools/get_flops.py                     # every encoder, 256x128
    python tools/analysis_tools/get_flops.py configs/_base_/backbones/starnet-s3.py --size 384 128
    python tools/analysis_tools/get_flops.py configs/pretrain/saip/CONFIG.py

A pretraining step is counted per image and part, forward and backward, at the view sizes of its
configuration (mean over the scales that are drawn).
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.analysis.cost_tables import cost_tables
from saip.configs import backbone_folder
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Print parameters and FLOPs')
    parser.add_argument(
        'configs',
        type=Path,
        nargs='*',
        metavar='CONFIG',
        help='backbone fragments or pretraining configs (default: all backbone fragments)',
    )
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='of an encoder (default: 256 128)'
    )
    args = parser.parse_args()
    if args.size and min(args.size) < 1:
        parser.error('--size: height and width are pixels, at least 1')
    return args


@one_line_errors()
def main() -> None:
    """Count."""
    args = parse_args()
    configs = args.configs or sorted(backbone_folder().glob('*.py'))
    print(cost_tables(configs, tuple(args.size) if args.size else None))


if __name__ == '__main__':
    main()
