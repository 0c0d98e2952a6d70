"""Draw people and write them in the layouts of public data sets, with contact sheets.

Examples:
    python tools/dataset_converters/make_people.py data/people --size quickstart
    python tools/dataset_converters/make_people.py data --datasets coco lip --size small
    python tools/dataset_converters/make_people.py data/people --keypoints data/people.npz

Without ``--datasets`` the folder itself becomes a set in the layout of Market-1501, which the
quickstart pretrains on. With it, every set gets the folder below that configs expect. A second
run with the same arguments finds the sets finished and does nothing.
"""

from saip.startup import usable_cores  # before torch

import argparse
from dataclasses import replace
from pathlib import Path

from saip.errors import one_line_errors
from saip.synthetic import SIZES, formats, write_market1501
from saip.synthetic.keypoints import write_market_keypoints


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('out', type=Path, help='folder to make')
    parser.add_argument(
        '--datasets',
        nargs='+',
        choices=formats.DATASETS,
        metavar='NAME',
        help=f'formats: {", ".join(formats.DATASETS)}',
    )
    parser.add_argument('--size', choices=SIZES)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=usable_cores())
    parser.add_argument(
        '--keypoints',
        type=Path,
        help='without --datasets: file for those of the training images',
    )
    args = parser.parse_args()
    if args.keypoints and args.datasets:
        parser.error('--keypoints: the sets of --datasets have annotations of their own')
    if args.size is None:
        args.size = 'small' if args.datasets else 'quickstart'
    if args.datasets and args.size not in formats.SIZES:
        allowed = ' or '.join(formats.SIZES)
        parser.error(f'--size {args.size}: with --datasets it is {allowed}')
    return args


@one_line_errors()
def main() -> None:
    """Write the sets and say what was done."""
    args = parse_args()
    if not args.datasets:
        spec = replace(SIZES[args.size], seed=args.seed)
        _say(args.out, write_market1501(args.out, spec, args.workers))
        if args.keypoints:
            count = write_market_keypoints(args.keypoints, spec)
            print(f'{args.keypoints}: keypoints of {count:,} images')
        return
    for name in args.datasets:
        folder, write = formats.DATASETS[name]
        _say(args.out / folder, write(args.out / folder, args.size, args.seed, args.workers))


def _say(folder: Path, written: bool) -> None:
    print(f'{folder}: {"written" if written else "already finished, nothing to do"}')


if __name__ == '__main__':
    main()
