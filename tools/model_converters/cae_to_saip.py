"""Write the encoder of a published CAE checkpoint as an encoder of ours.

    python tools/model_converters/cae_to_saip.py cae_base_1600ep.pth cae-base.pth

Checkpoints of both public codes are read, and no pickle is run. Regressor, decoder and the copy
for the alignment are dropped and named. With --whole regressor and decoder are written too, and
options are printed with which a pretraining begins with all of them.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.cae import cae_to_saip
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description='Write an encoder of CAE as ours')
    parser.add_argument('source', type=Path, help='checkpoint of a pretraining with CAE')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--num-heads', type=int, help='default: those of CAE for an encoder of this width'
    )
    parser.add_argument(
        '--img-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='size that its positions belong to, where their number does not tell',
    )
    parser.add_argument('--whole', action='store_true', help='also write regressor and decoder')
    args = parser.parse_args()
    img_size = tuple(args.img_size) if args.img_size else None
    print(cae_to_saip(args.source, args.target, args.num_heads, img_size, args.whole))


if __name__ == '__main__':
    main()
