"""Repeat a recorded training step of the method's first release and print the differences.

python tools/analysis_tools/parity.py DUMP.pt
"""

import argparse
import sys
from pathlib import Path

from saip.analysis.parity import CONFIG_NAME, compare_step, print_comparison

CONFIG = Path(__file__).resolve().parents[2] / 'configs/pretrain/saip' / CONFIG_NAME


def main() -> int:
    """Compare; 0 if everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dump', type=Path, help='a file of recorded values')
    args = parser.parse_args()
    try:
        rows = compare_step(args.dump, CONFIG)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        missing = f'{args.dump}: lacks ' if isinstance(error, KeyError) else ''
        print(f'parity: {missing}{error}', file=sys.stderr)
        return 2
    return 0 if print_comparison(rows) else 1


if __name__ == '__main__':
    sys.exit(main())
