"""Collect HP1M's person boxes from its seven sources, verify them and write one manifest.

Example:
    python tools/dataset_converters/make_hp1m.py data data/HP1M
"""

from saip.startup import usable_cores  # before torch

import argparse
import os

from saip.datasets.converters.hp1m import make_hp1m
from saip.datasets.converters.hp1m_sources import SOURCES
from saip.datasets.converters.report import count_table, count_warnings
from saip.datasets.manifest import MANIFEST_NAME
from saip.datasets.verify import MIN_SIDE
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help=f'folder that holds {", ".join(SOURCES)}')
    parser.add_argument('out', help=f'folder in which {MANIFEST_NAME} is written')
    parser.add_argument('--only', nargs='+', choices=SOURCES, default=[])
    parser.add_argument('--min-side', type=int, default=MIN_SIDE, help='in pixels')
    parser.add_argument('--workers', type=int, default=usable_cores())
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    out = os.path.join(args.out, MANIFEST_NAME)
    counts = make_hp1m(args.source, out, args.only, args.min_side, args.workers)
    print('\n'.join([count_table(counts, total=True), *count_warnings(counts)]))


if __name__ == '__main__':
    main()
