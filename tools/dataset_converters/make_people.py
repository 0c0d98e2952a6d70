"""Draw people and write them in the layout of Market-1501, with a contact sheet.

Example:
    python tools/dataset_converters/make_people.py data/people --size quickstart

A second run with the same arguments finds the set finished and does nothing.
"""

import argparse
import os
import sys
from dataclasses import replace

from saip.datasets.people import SIZES, write_market1501


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', help='folder to make')
    parser.add_argument('--size', choices=SIZES, default='quickstart')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> None:
    """Write the set and say what was done."""
    args = parse_args()
    spec = replace(SIZES[args.size], seed=args.seed)
    written = write_market1501(args.out, spec, args.workers)
    print(f'{args.out}: {"written" if written else "already finished, nothing to do"}')


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
