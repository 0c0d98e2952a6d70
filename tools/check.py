"""Check a run before it is started: errors that would stop it, disk and time that it needs.

python tools/check.py CONFIG [--work-dir DIR] [--processes N] [--cfg-options key=value ...]

Reads the configuration, looks for its files, takes one batch, does one step, writes one checkpoint
beside the work directory and removes it, and says how much disk and time the run needs. Exit status
0 if the run can start, 2 with what to change if not. Nothing is left behind.
"""

import saip.startup  # noqa: F401, before torch

import argparse

from rich.console import Console

from saip.engine.check_run import check_run
from saip.engine.options import OptionAction
from saip.errors import InputError, one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='configuration file')
    parser.add_argument('--work-dir', help='that of the run; default work_dirs/CONFIG')
    parser.add_argument('--amp', action='store_true', help='compute in bfloat16')
    parser.add_argument('--no-validate', action='store_true', help='do not validate')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size',
    )
    parser.add_argument(
        '--processes', type=int, default=1, metavar='N', help='of the run, for its time'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionAction,
        metavar='KEY=VALUE',
        help='replace parts of the configuration',
    )
    args = parser.parse_args()
    if args.processes < 1:
        parser.error('--processes: at least 1')
    return args


@one_line_errors()
def main() -> None:
    """Check, telling each result as it comes."""
    args = parse_args()
    console = Console(highlight=False, soft_wrap=True)

    def tell(name: str, result: str) -> None:
        console.print(f'[green]ok[/]  {name:<9}', end=' ')
        console.print(result, markup=False)

    try:
        check_run(
            args.config,
            tell,
            work_dir=args.work_dir,
            amp=args.amp,
            validate=not args.no_validate,
            auto_scale_lr=args.auto_scale_lr,
            options=args.cfg_options,
            processes=args.processes,
        )
    except InputError:
        console.print('[red]no[/]  the run cannot start:')
        raise
    console.print('the run can start')


if __name__ == '__main__':
    main()
