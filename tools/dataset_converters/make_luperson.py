"""Verify LUPerson and draw LUP1M, LUP2M and LUP4M from it, each a part of the next.

Example:
    python tools/dataset_converters/make_luperson.py data/LUPerson data
"""

from saip.startup import usable_cores  # before torch

import argparse

from saip.datasets.converters.luperson import LUPERSON_SIZES, make_luperson
from saip.datasets.converters.report import count_table, count_warnings
from saip.datasets.verify import MIN_SIDE
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='folder or LMDB of LUPerson')
    parser.add_argument('out', help='folder that gets LUP1M/, LUP2M/ and LUP4M/')
    parser.add_argument('--ann-file', default='', help='list of images, relative to SOURCE')
    parser.add_argument(
        '--sets', nargs='+', choices=LUPERSON_SIZES, default=list(LUPERSON_SIZES)
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--min-side', type=int, default=MIN_SIDE, help='in pixels')
    parser.add_argument('--workers', type=int, default=usable_cores())
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    sizes = {name: LUPERSON_SIZES[name] for name in args.sets}
    counts = make_luperson(
        args.source, args.out, args.ann_file, args.seed, sizes, args.min_side, args.workers
    )
    print('\n'.join([count_table(counts), *count_warnings(counts)]))


if __name__ == '__main__':
    main()
