"""Read many damaged annotation files and print what became of them.

python benchmarks/fuzz_readers.py [--count 100000] [--only NAME ...]

Every line is a reader: files that were read all the same, files that were refused by an error that
names them, and faults: other errors, more than a second of computing, a hung or crashed process.
The files are the same in every run.
"""

import saip.startup  # noqa: F401, before torch

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.test_fuzz.campaign import campaign
from tests.test_fuzz.readers import CORE, DOWNSTREAM


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=100_000, help='damaged files per reader')
    parser.add_argument('--first', type=int, default=0, help='number of the first file')
    parser.add_argument('--only', nargs='+', help='parts of the names of readers')
    parser.add_argument('--seconds', type=float, help='end a reader after this time')
    return parser.parse_args()


def main() -> None:
    """Print a line per reader, and its first faults."""
    args = parse_args()
    readers = CORE | {name: make for name, (_, make) in DOWNSTREAM.items()}
    for name, make in readers.items():
        if args.only and not any(part in name for part in args.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            _run(name, make(Path(folder)), args)


def _run(name: str, target, args: argparse.Namespace) -> None:
    start, first, step = time.monotonic(), args.first, 1000
    total, faults, slowest = {}, [], (0.0, 0)
    while first < args.first + args.count:
        report = campaign(target, range(first, min(first + step, args.first + args.count)))
        for outcome, count in report.outcomes.items():
            total[outcome] = total.get(outcome, 0) + count
        faults += report.faults
        slowest = max(slowest, report.slowest)
        first += step
        if args.seconds and time.monotonic() - start > args.seconds:
            break
    wrong = {key: value for key, value in total.items() if key not in ('read', 'refused')}
    print(
        f'{name}: {sum(total.values()):,} files, {total.get("read", 0):,} read, '
        f'{total.get("refused", 0):,} refused, {sum(wrong.values())} faults {wrong or ""} '
        f'slowest {slowest[0]:.2f} s ({time.monotonic() - start:.0f} s)',
        flush=True,
    )
    for seed, text in faults[:12]:
        print(f'    {seed}: {text}', flush=True)


if __name__ == '__main__':
    main()
