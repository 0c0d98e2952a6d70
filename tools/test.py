"""Evaluate a checkpoint with the test loop of a configuration.

python tools/test.py CONFIG CHECKPOINT [--show-dir DIR] [--cfg-options key=value ...]
"""

import saip.startup  # noqa: F401, before torch

import argparse
import os

from saip.engine import launch
from saip.engine.options import OptionAction
from saip.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='configuration file')
    parser.add_argument('checkpoint', help='checkpoint of this configuration')
    parser.add_argument(
        '--work-dir', help='logs and metrics; default: folder test in that of the training'
    )
    parser.add_argument('--show-dir', help='write images of what is predicted to this folder')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='replace parts of the configuration',
    )
    parser.add_argument('--launcher', choices=launch.LAUNCHERS, default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


@one_line_errors()
def main() -> None:
    """Evaluate."""
    args = parse_args()
    launch.evaluate(
        args.config,
        args.checkpoint,
        work_dir=args.work_dir,
        options=args.cfg_options,
        launcher=args.launcher,
        show_dir=args.show_dir,
    )


if __name__ == '__main__':
    main()
