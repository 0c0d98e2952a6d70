"""Make the file of keypoints that HAP's masks need, keyed like a data set.

Examples:
    python tools/dataset_converters/make_keypoints.py annotations coco/train.json OUT.npz
    python tools/dataset_converters/make_keypoints.py hap luperson_pose data/LUP1M OUT.npz
    python tools/dataset_converters/make_keypoints.py model pose.py pose.pth data/LUP1M OUT.npz

``annotations`` reads COCO's format with 17 or 14 joints, or AIC's own; ``hap`` HAP's released
files, of which no pickle is executed; ``model`` runs a top-down model of mmpose with the whole
image as the person's box.
"""

from saip.startup import usable_cores  # before torch

import argparse
import os
from functools import partial

import saip.checkpoint  # noqa: F401 (files of weights run no code from here on)
from saip.datasets.canvas import ImageError, open_image, upright_size
from saip.datasets.converters.hap_keypoints import from_hap
from saip.datasets.converters.keypoints import Converted, from_annotations
from saip.datasets.converters.pose_model import from_pose_model
from saip.datasets.files import check_output
from saip.errors import MissingFileError, one_line_errors

LEFT_OUT = {
    'annotations': 'no labeled joint, or the box of an earlier one',
    'hap': 'no .npy file of their name',
    'model': 'their image cannot be read',
}
"""Why a sample gets no keypoints."""


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest='kind', required=True)
    labeled = kinds.add_parser(
        'annotations', help='from an annotation file, one sample per box'
    )
    labeled.add_argument('source', help='JSON file')
    labeled.add_argument('out', help='file to write')
    labeled.add_argument('--prefix', default='', help="folder in front of the file's paths")
    labeled.add_argument(
        '--images', help='root of the images, to read sizes that are not stated'
    )
    hap = kinds.add_parser('hap', help="from HAP's released .npy files")
    hap.add_argument('poses', help='folder of .npy files')
    model = kinds.add_parser('model', help='by a top-down model of mmpose')
    model.add_argument('config', help="the model's config")
    model.add_argument('checkpoint', help="the model's weights")
    model.add_argument('--device', default='cuda:0')
    for kind in (hap, model):
        kind.add_argument('data', help='folder or LMDB of the images')
        kind.add_argument('out', help='file to write')
        kind.add_argument('--ann-file', default='', help='list of the images, relative to DATA')
    hap.add_argument('--workers', type=int, default=usable_cores())
    return parser.parse_args()


def size_in(root: str, path: str) -> tuple[int, int] | None:
    """(width, height) of an image below a folder; None if it cannot be read."""
    try:
        with open(os.path.join(root, path), 'rb') as file:
            height, width = upright_size(open_image(file))
    except (ImageError, OSError):
        return None
    return width, height


def convert(args: argparse.Namespace) -> Converted:
    """Do what was asked."""
    check_output(args.out)
    if args.kind == 'annotations':
        if args.images is not None and not os.path.isdir(args.images):
            raise MissingFileError(f'--images {args.images}: no such folder')
        size_of = None if args.images is None else partial(size_in, args.images)
        return from_annotations(args.source, args.out, args.prefix, size_of)
    if args.kind == 'hap':
        return from_hap(args.poses, args.data, args.out, args.ann_file, args.workers)
    return from_pose_model(
        args.config, args.checkpoint, args.data, args.out, args.ann_file, args.device
    )


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    done = convert(args)
    left_out = f'{done.left_out:,} left out ({LEFT_OUT[args.kind]})'
    print(
        f'{args.out}: keypoints of {done.written:,} samples, '
        f'{left_out if done.left_out else "all that there are"}'
    )


if __name__ == '__main__':
    main()
