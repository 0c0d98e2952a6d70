"""Pretrain on drawn people (or a folder of person crops), evaluate, export, and report.

python tools/quickstart.py [--data FOLDER]
"""

import argparse
import sys
from pathlib import Path

from saip.quickstart.run import quickstart

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run it; 0 if the network learnt."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', type=Path, help='a folder of person crops')
    parser.add_argument('--out', type=Path, help='where everything goes')
    args = parser.parse_args()
    name = 'people' if args.data is None else args.data.resolve().name
    out = args.out or Path('work_dirs/quickstart') / name
    try:
        learnt = quickstart(ROOT / 'configs', args.data, out, Path('data/people-quickstart'))
    except (OSError, ValueError, RuntimeError) as error:
        print(f'quickstart: {error}', file=sys.stderr)
        return 2
    return 0 if learnt else 1


if __name__ == '__main__':
    sys.exit(main())
