"""Repeat a recorded training step of the method's first release and print the differences.

python tools/analysis_tools/parity.py DUMP.pt
"""

import saip.startup  # noqa: F401, before torch

import argparse
import sys
from pathlib import Path

from saip.analysis.parity import CONFIG_NAME, compare_step, print_comparison
from saip.errors import one_line_errors

CONFIG = Path(__file__).resolve().parents[2] / 'configs/pretrain/saip' / CONFIG_NAME


@one_line_errors()
def main() -> int:
    """Compare; 0 if everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dump', type=Path, help='a file of recorded values')
    args = parser.parse_args()
    return 0 if print_comparison(compare_step(args.dump, CONFIG)) else 1


if __name__ == '__main__':
    sys.exit(main())
