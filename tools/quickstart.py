"""Pretrain on synthetic persons (or a folder of person crops), evaluate, export, and report.

python tools/quickstart.py [--data FOLDER]
SAIP_BACKBONE=starnet-s3 python tools/quickstart.py     # another file of configs/_base_/backbones
"""

import saip.startup  # noqa: F401, before torch

import argparse
import hashlib
import os
import sys
from pathlib import Path

from saip.errors import one_line_errors

ROOT = Path(__file__).resolve().parents[1]


@one_line_errors()
def main() -> int:
    """Run it; 0 if the network learned."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', type=Path, help='a folder of person crops')
    parser.add_argument('--out', type=Path, help='where everything goes')
    args = parser.parse_args()
    # Takes seconds, in which Ctrl-C shall end in one line, too.
    from saip.quickstart.run import quickstart

    out = args.out or Path('work_dirs/quickstart') / folder_name(args.data)
    learned = quickstart(ROOT / 'configs', args.data, out, Path('data/people-quickstart'))
    return 0 if learned else 1


def folder_name(data: Path | None) -> str:
    """Name the results of one folder; another folder or encoder gets another name."""
    encoder = os.environ.get('SAIP_BACKBONE')
    suffix = f'_{encoder}' if encoder else ''
    if data is None:
        return f'people{suffix}'
    digest = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:8]
    return f'{data.resolve().name}-{digest}{suffix}'


if __name__ == '__main__':
    sys.exit(main())
