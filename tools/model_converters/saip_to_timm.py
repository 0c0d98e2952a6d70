"""Write an encoder under timm's names, so that timm.create_model loads it strictly.

    python tools/model_converters/saip_to_timm.py BACKBONE.pth vit-tiny_timm.safetensors

The source is a training checkpoint or an exported file. Prints the call that loads the result.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.timm import saip_to_timm
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description="Write an encoder under timm's names")
    parser.add_argument('source', type=Path, help='training checkpoint or exported file')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--which',
        choices=('student', 'expert'),
        default='student',
        help='of a training checkpoint: the trained encoder (default) or its moving average',
    )
    args = parser.parse_args()
    print(saip_to_timm(args.source, args.target, args.which))


if __name__ == '__main__':
    main()
