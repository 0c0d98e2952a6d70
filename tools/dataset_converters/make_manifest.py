"""Verify a folder, list or LMDB of images once and write its manifest.

Example:
    python tools/dataset_converters/make_manifest.py data/crops
"""

from saip.startup import usable_cores  # before torch

import argparse
import os

from saip.datasets.converters.folder import make_manifest
from saip.datasets.converters.report import count_table, count_warnings
from saip.datasets.manifest import MANIFEST_NAME
from saip.datasets.verify import MIN_SIDE
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='folder or LMDB of images')
    parser.add_argument(
        'out', nargs='?', help=f'manifest to write; default SOURCE/{MANIFEST_NAME}'
    )
    parser.add_argument(
        '--ann-file', default='', help='list (.txt) or COCO boxes (.json), relative to SOURCE'
    )
    parser.add_argument(
        '--data-prefix', default='', help='where the images are, relative to SOURCE'
    )
    parser.add_argument('--min-side', type=int, default=MIN_SIDE, help='in pixels')
    parser.add_argument('--workers', type=int, default=usable_cores())
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    count = make_manifest(
        args.source,
        args.out or os.path.join(args.source, MANIFEST_NAME),
        args.ann_file,
        args.data_prefix,
        args.min_side,
        args.workers,
    )
    print('\n'.join([count_table([count]), *count_warnings([count])]))


if __name__ == '__main__':
    main()
