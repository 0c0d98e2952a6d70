"""Convert CIHP as it is published (instance-level_human_parsing) to what saip.CIHP reads.

Example:
    python tools/dataset_converters/make_cihp.py instance-level_human_parsing data/CIHP --workers 8
"""

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.datasets.converters.cihp import convert_cihp
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', type=Path, help='the unpacked download')
    parser.add_argument('target', type=Path, help='folder to write, CIHP below the data root')
    parser.add_argument('--workers', type=int, default=1, help='processes (default: 1)')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    counts = convert_cihp(args.source, args.target, args.workers)
    listed = '; '.join(
        f'{split} {images:,} images, {people:,} people'
        for split, (images, people) in counts.items()
    )
    print(f'{args.target}: {listed}')


if __name__ == '__main__':
    main()
