"""Count which attributes the garments of Fashionpedia's categories have.

A training counts by itself. This writes the counts to a file that can be looked at, and that
another training, on other annotations, can begin with: custom_hooks.0.counts=FILE.

Example:
    python tools/dataset_converters/make_knowledge_matrix.py \
        data/fashionpedia/instances_attributes_train2020.json data/fashionpedia/knowledge.npz
"""

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

import numpy as np

from saip.datasets.files import check_output
from saip.datasets.knowledge import count_file, save_counts
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('annotations', type=Path, help='those of the training set')
    parser.add_argument('target', type=Path, help='file to write, such as knowledge.npz')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Count, write, and print how much there is."""
    args = parse_args()
    check_output(args.target)
    counts = count_file(args.annotations)
    save_counts(args.target, counts)
    print(
        f'{args.target}: {counts.garments.sum():,} garments of {np.count_nonzero(counts.garments)} '
        f'categories, {np.count_nonzero(counts.pairs):,} pairs of category and attribute; '
        f'annotations {counts.digest[:12]}'
    )


if __name__ == '__main__':
    main()
