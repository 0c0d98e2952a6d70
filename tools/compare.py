"""Compare pretraining methods on your images: train, evaluate the frozen features, write a table.

    python tools/compare.py saip-small saip-small:model.objectives.css=None --images 40000 \
        --data data/market1501/bounding_box_train --retrieval data/market1501 --seeds 3
    python tools/compare.py imagenet imagenet+saip --init imagenet=BACKBONE.pth --time 10 \
        --data CROPS --retrieval data/market1501 --backbone vit-tiny-p16 --batch-size 128

A method is a file of configs/pretrain/_base_/methods, with changes after a colon if need be. Called
again with the same --out, it goes on where it was stopped.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import os
from pathlib import Path

from mmengine.device import get_device

from saip.configs import backbone_folder
from saip.errors import one_line_errors
from saip.experiments.compare.rows import parse_rows, parse_weights
from saip.experiments.compare.run import compare
from saip.experiments.compare.settings import METHODS, Comparison
from saip.experiments.frozen_options import check_device
from saip.models.selfsup.predicting import FEATURES

TOOLS = Path(__file__).resolve().parent


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Compare pretraining methods')
    parser.add_argument(
        'methods',
        nargs='+',
        metavar='METHOD',
        help='[WEIGHTS+]METHOD[:KEY=VALUE,...], or WEIGHTS alone, which are not trained',
    )
    parser.add_argument('--data', type=Path, required=True, help='folder of images to train on')
    parser.add_argument(
        '--retrieval', type=Path, required=True, help='a set in Market-1501 layout'
    )
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument('--images', type=int, metavar='N', help='that each training sees')
    length.add_argument(
        '--time', type=float, metavar='MINUTES', help='of all trainings, in equal shares'
    )
    parser.add_argument('--seeds', type=int, default=1, help='trainings per row (default: 1)')
    parser.add_argument(
        '--init',
        action='append',
        default=[],
        metavar='NAME=FILE',
        help='weights to begin with: an exported backbone or a checkpoint; may be repeated',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/compare'), help='folder of the results'
    )
    parser.add_argument('--batch-size', type=int, default=32)
    parser.add_argument(
        '--backbone',
        default=os.environ.get('SAIP_BACKBONE', 'vit-4blocks-p16'),
        help='a file of configs/_base_/backbones (default: SAIP_BACKBONE or vit-4blocks-p16)',
    )
    parser.add_argument('--which', choices=('student', 'expert'), default='student')
    parser.add_argument(
        '--feature', choices=FEATURES, help="to retrieve by (default: each method's own)"
    )
    parser.add_argument(
        '--parts', type=Path, metavar='LIP', help='a set in LIP layout (default: synthetic)'
    )
    parser.add_argument(
        '--keypoints', type=Path, metavar='COCO', help='in COCO layout (default: synthetic)'
    )
    parser.add_argument('--workers', type=int, default=2, help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 (default: a GPU if there is one)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='replace parts of the configuration of all trainings',
    )
    args = parser.parse_args()
    check_device(parser, args.device)
    return args


@one_line_errors()
def main() -> None:
    """Compare, and print the table."""
    args = parse_args()
    configs = backbone_folder().parents[1]
    weights = parse_weights(args.init)
    out = args.out.resolve()
    comparison = Comparison(
        rows=parse_rows(args.methods, configs / METHODS, weights),
        weights=weights,
        data=args.data.expanduser().resolve(),
        retrieval=args.retrieval.expanduser().resolve(),
        out=out,
        images=args.images,
        minutes=args.time,
        seeds=args.seeds,
        batch=args.batch_size,
        backbone=args.backbone,
        which=args.which,
        feature=args.feature,
        device=args.device or get_device(),
        workers=args.workers,
        options=args.cfg_options,
        parts=args.parts,
        keypoints=args.keypoints,
        configs=configs,
        tools=TOOLS,
    )
    print(compare(comparison))
    print(f'{out}/comparison.md, .json, .png')


if __name__ == '__main__':
    main()
