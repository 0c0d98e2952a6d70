"""Convert the published zero-shot split of PETA to the file that saip.PETAZeroShot reads.

Example:
    python tools/dataset_converters/make_petazs.py dataset_zs_run0.pkl data/PETA/peta_zs.json
"""

import saip.startup  # noqa: F401, before torch

import argparse

from saip.downstream.attributes.published import convert_petazs
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='dataset_zs_run0.pkl')
    parser.add_argument('target', help='JSON file to write, peta_zs.json in the folder of PETA')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Convert, and print the counts."""
    args = parse_args()
    counts = convert_petazs(args.source, args.target)
    listed = ', '.join(f'{count} {part}' for part, count in counts.items())
    print(f'{args.target}: {listed}')


if __name__ == '__main__':
    main()
