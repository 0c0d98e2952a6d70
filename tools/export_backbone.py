"""Write the bare backbone of a training checkpoint, for the OpenMMLab libraries.

    python tools/export_backbone.py work_dirs/RUN/epoch_300.pth

Prints the file, its size and a piece of configuration that loads it.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.checkpoint import (
    config_snippet,
    export_backbone,
    load_checkpoint_file,
)
from saip.errors import one_line_errors

FORMATS = {'pth': ('pth',), 'safetensors': ('safetensors',), 'both': ('pth', 'safetensors')}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Export the bare backbone of a checkpoint')
    parser.add_argument('checkpoint', type=Path, help='training checkpoint (.pth)')
    parser.add_argument(
        '--which',
        choices=('student', 'expert'),
        default='student',
        help='the trained encoder (default) or its moving average',
    )
    parser.add_argument('--out', type=Path, help='folder (default: that of the checkpoint)')
    parser.add_argument('--name', help='first part of the file name')
    parser.add_argument('--format', choices=FORMATS, default='both')
    parser.add_argument(
        '--condition',
        type=float,
        metavar='LAMBDA',
        help='λ from 0 to 1 to fold into a backbone that was trained with a semantic controller '
        '(SOLIDER); default: the one that its training evaluated with, 0.2',
    )
    return parser.parse_args()


def default_name(checkpoint: Path, which: str) -> str:
    """Name of the run and of the checkpoint: ``RUN-epoch_300-student``."""
    run = checkpoint.resolve().parent.name
    return f'{run}-{checkpoint.stem}-{which}'


@one_line_errors()
def main() -> None:
    """Export, and say what was written and how to load it."""
    args = parse_args()
    path = export_backbone(
        load_checkpoint_file(args.checkpoint),
        args.out or args.checkpoint.parent,
        which=args.which,
        name=args.name or default_name(args.checkpoint, args.which),
        source=args.checkpoint,
        formats=FORMATS[args.format],
        condition=args.condition,
    )
    written = load_checkpoint_file(path)
    tensors = written['state_dict']
    parameters = sum(tensor.numel() for tensor in tensors.values())
    for suffix in FORMATS[args.format]:
        print(path.with_suffix(f'.{suffix}'))
    condition = written['meta'].get('condition')
    fixed = '' if condition is None else f', λ = {condition:g} folded in'
    print(f'{len(tensors)} tensors, {parameters:,} parameters, {args.which}{fixed}')
    print(f'\nIn an mmpretrain config:\n\n{config_snippet(path, written["meta"])}')


if __name__ == '__main__':
    main()
