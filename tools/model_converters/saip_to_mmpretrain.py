"""Write an encoder for mmpretrain's own VisionTransformer or TIMMBackbone.

    python tools/model_converters/saip_to_mmpretrain.py BACKBONE.pth vit-tiny_mmpretrain.pth

The source is a training checkpoint or an exported file. Prints the configuration that loads the
result; it needs no SAIP.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from saip.engine.converters.files import run_converter
from saip.engine.converters.mmpretrain import saip_to_mmpretrain


def main() -> int:
    """Do it; the exit status is 1 after an error."""
    parser = argparse.ArgumentParser(description='Write an encoder for stock mmpretrain')
    parser.add_argument('source', type=Path, help='training checkpoint or exported file')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--which',
        choices=('student', 'expert'),
        default='student',
        help='of a training checkpoint: the trained encoder (default) or its moving average',
    )
    args = parser.parse_args()
    return run_converter(
        'saip_to_mmpretrain', lambda: saip_to_mmpretrain(args.source, args.target, args.which)
    )


if __name__ == '__main__':
    sys.exit(main())
