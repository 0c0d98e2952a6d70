"""Write the backbone of a model of mmdet, mmpose or mmpretrain as an encoder of ours.

    python tools/model_converters/openmmlab_to_saip.py rtmdet_s.pth cspnext-s.pth \
        --backbone configs/_base_/backbones/cspnext-s.py

For the networks that saip.OpenMMLabEncoder wraps. Neck and heads are dropped and named; every
tensor of the backbone has to match the fragment's network. Nothing is downloaded.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.openmmlab import openmmlab_to_saip
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description='Write a backbone of OpenMMLab as ours')
    parser.add_argument(
        'source', type=Path, help='detector, pose model, classifier or backbone'
    )
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--backbone',
        type=Path,
        required=True,
        metavar='FRAGMENT',
        help='configuration of the network, such as configs/_base_/backbones/cspnext-s.py',
    )
    args = parser.parse_args()
    print(openmmlab_to_saip(args.source, args.target, args.backbone))


if __name__ == '__main__':
    main()
