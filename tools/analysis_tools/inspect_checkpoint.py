"""Print what is in a checkpoint file, without running its code.

    python tools/analysis_tools/inspect_checkpoint.py work_dirs/RUN/epoch_300.pth

Training checkpoints, exported and converted backbones, and files of other projects, as ``.pth`` or
``.safetensors``. Exit status 1 if a tensor of the file is not finite.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import sys
from pathlib import Path

from saip.checkpoint.inspection import inspect_file
from saip.errors import one_line_errors, printable


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('file', type=Path, help='.pth or .safetensors')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Print, and end with 1 for a file that nothing should begin with."""
    found = inspect_file(parse_args().file)
    width = max(len(name) for name, _ in found.rows)
    for name, value in found.rows:
        print(f'{name:<{width}}  {printable(value)}')
    if found.broken:
        print('\nnothing should begin with this file: take an earlier one')
        sys.exit(1)
    print('\nuse it by')
    for command in found.commands:
        print(f'  {command}')


if __name__ == '__main__':
    main()
