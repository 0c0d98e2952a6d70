"""Train from a configuration.

python tools/train.py CONFIG [--resume] [--amp] [--cfg-options key=value ...]
"""

import saip.startup  # noqa: F401, before torch

import argparse
import os

from saip.engine import launch
from saip.engine.check_run import check_run
from saip.engine.options import OptionAction
from saip.errors import InputError, one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='configuration file')
    parser.add_argument('--work-dir', help='logs and checkpoints; default work_dirs/CONFIG')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='continue from a checkpoint; auto (or nothing): the newest valid one there',
    )
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16')
    parser.add_argument('--no-validate', action='store_true', help='do not validate')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size, by auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='replace parts of the configuration, such as model.objectives.css=None',
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='do what tools/check.py does first: a batch, a step, a checkpoint, room on the disk',
    )
    parser.add_argument('--launcher', choices=launch.LAUNCHERS, default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def check_first(args: argparse.Namespace) -> None:
    """Check the run, and say what was found.

    Raises:
        InputError: it cannot start, or several processes are to share it.
    """
    if args.launcher != 'none' or args.resume:
        raise InputError(
            '--check is for a new run of one process; for others call tools/check.py before'
        )
    check_run(
        args.config,
        lambda name, found: print(f'{name}: {found}'),
        work_dir=args.work_dir,
        amp=args.amp,
        validate=not args.no_validate,
        auto_scale_lr=args.auto_scale_lr,
        options=args.cfg_options,
    )


@one_line_errors()
def main() -> None:
    """Train."""
    args = parse_args()
    if args.check:
        check_first(args)
    launch.train(
        args.config,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        validate=not args.no_validate,
        auto_scale_lr=args.auto_scale_lr,
        options=args.cfg_options,
        launcher=args.launcher,
    )


if __name__ == '__main__':
    main()
