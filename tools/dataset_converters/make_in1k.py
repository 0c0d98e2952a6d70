"""Verify the training set of ImageNet-1K and write its manifest.

Example:
    python tools/dataset_converters/make_in1k.py data/imagenet/train data/IN1K
"""

from saip.startup import usable_cores  # before torch

import argparse
import os

from saip.datasets.converters.folder import IMAGENET_COUNT, make_manifest
from saip.datasets.converters.report import count_table, count_warnings
from saip.datasets.manifest import MANIFEST_NAME
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='folder that holds the 1,000 folders of classes')
    parser.add_argument('out', help=f'folder in which {MANIFEST_NAME} is written')
    parser.add_argument('--workers', type=int, default=usable_cores())
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    out = os.path.join(args.out, MANIFEST_NAME)
    count = make_manifest(
        args.source, out, workers=args.workers, name='IN1K', expected=IMAGENET_COUNT
    )
    print('\n'.join([count_table([count]), *count_warnings([count])]))


if __name__ == '__main__':
    main()
