"""Write the weights of a timm model, such as supervised ones of ImageNet, as an encoder of ours.

    python tools/model_converters/timm_to_saip.py FILE starnet-s3.pth --model starnet_s3.in1k

The classifier is dropped and named; every other tensor has to match. Nothing is downloaded.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.timm import timm_to_saip
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description='Write the weights of a timm model as ours')
    parser.add_argument('source', type=Path, help="weights under timm's names")
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--model',
        metavar='NAME[.TAG]',
        help='name in timm, with the tag of the weights, which tells their mean and std; a file '
        'made by saip_to_timm.py needs none',
    )
    parser.add_argument(
        '--img-size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="of a plain ViT: size that its positions belong to, where it is not the name's",
    )
    args = parser.parse_args()
    img_size = tuple(args.img_size) if args.img_size else None
    print(timm_to_saip(args.source, args.target, args.model, img_size))


if __name__ == '__main__':
    main()
