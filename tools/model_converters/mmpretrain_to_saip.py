"""Write the backbone of an mmpretrain file as an encoder of ours.

    python tools/model_converters/mmpretrain_to_saip.py FILE vit-tiny.pth
    python tools/model_converters/mmpretrain_to_saip.py FILE starnet-s3.pth --model starnet_s3

Supported are VisionTransformer and TIMMBackbone. The head is dropped and named; every other tensor
has to match. Nothing is downloaded.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.mmpretrain import mmpretrain_to_saip
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description='Write a backbone of mmpretrain as ours')
    parser.add_argument('source', type=Path, help='classifier or bare backbone of mmpretrain')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--model', metavar='NAME[.TAG]', help='of a TIMMBackbone: its model_name'
    )
    parser.add_argument(
        '--num-heads',
        type=int,
        help="of a VisionTransformer: default is that of mmpretrain's ViT of this shape",
    )
    parser.add_argument(
        '--img-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='of a plain ViT: size that its positions belong to, where their number does not tell',
    )
    args = parser.parse_args()
    img_size = tuple(args.img_size) if args.img_size else None
    print(mmpretrain_to_saip(args.source, args.target, args.model, args.num_heads, img_size))


if __name__ == '__main__':
    main()
