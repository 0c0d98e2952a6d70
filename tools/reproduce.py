"""Show a table or figure of the paper: its rows, their commands, and what has been found so far.

    python tools/reproduce.py table1                                  the table, Markdown
    python tools/reproduce.py table1 --html table1.html               one page, commands folded away
    python tools/reproduce.py table1 --run saip_vit-tiny-p16          run a row, or go on with it
    python tools/reproduce.py table1 --run saip_vit-tiny-p16:market1501 --schedule 0.02 --gpus 1
    python tools/reproduce.py table1 --slurm table1.sh                an array of jobs

What has been found is read from the records that trainings and tests write below --records, never
from anywhere else. SAIP_DATA names the folder of all data sets. See docs/reproduce.md.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import os
from pathlib import Path

from saip.datasets.files import check_output, write_atomic
from saip.errors import InputError, one_line_errors
from saip.experiments.reproduce.counted_classes import check_class_counts
from saip.experiments.reproduce.found import Records
from saip.experiments.reproduce.listings import LISTINGS, report_listing
from saip.experiments.reproduce.markdown import write_markdown
from saip.experiments.reproduce.needs import row_needs
from saip.experiments.reproduce.page import write_html
from saip.experiments.reproduce.plan import Settings, row_steps
from saip.experiments.reproduce.report import Report, report_table
from saip.experiments.reproduce.run import require, run_steps
from saip.experiments.reproduce.scripts import shell_script, slurm_script
from saip.experiments.reproduce.tables import TABLES

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted([*TABLES, *LISTINGS])
SLURM_GPUS = 8


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('table', choices=NAMES, metavar='TABLE', help=', '.join(NAMES))
    parser.add_argument(
        '--run',
        metavar='ROW[:TASK]',
        help="run a row's commands, or those of one of its data sets: what is finished is passed "
        'over, what was interrupted goes on',
    )
    parser.add_argument(
        '--schedule', type=float, default=1.0, help='share of every schedule, for trials'
    )
    parser.add_argument(
        '--gpus', type=int, help="processes; the batch of all stays (default: each config's)"
    )
    for flag, what in (
        ('--cfg-options', 'fine-tunings'),
        ('--pretrain-options', 'pretrainings'),
    ):
        parser.add_argument(
            flag, nargs='+', default=[], metavar='KEY=VALUE', help=f'of all {what}'
        )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/reproduce'),
        help='of all runs (%(default)s)',
    )
    parser.add_argument(
        '--records',
        type=Path,
        nargs='+',
        metavar='DIR',
        help='where results are looked for (default: work_dirs and --out)',
    )
    parser.add_argument('--commands', action='store_true', help='show the commands, too')
    for flag, what in (
        ('--markdown', 'the table, in place of the screen'),
        ('--html', 'the table as a page'),
        ('--script', 'all commands for a shell'),
        ('--slurm', 'all commands as an array of Slurm jobs'),
    ):
        parser.add_argument(flag, type=Path, metavar='FILE', help=f'write {what}')
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Run a row if one is named; then show the table."""
    args = parse_args()
    files = [args.markdown, args.html, args.script, args.slurm]
    for file in files:
        if file is not None:
            check_output(file)
    settings = Settings(
        ROOT,
        args.out,
        os.environ.get('SAIP_DATA', 'data').rstrip('/') or '/',
        args.schedule,
        args.gpus,
        tuple(args.cfg_options),
        tuple(args.pretrain_options),
    )
    if args.run:
        _run(args.table, args.run, settings)
    report = _report(args.table, settings, args.records or [Path('work_dirs'), args.out])
    if args.slurm and not any(line.steps for line in report.lines):
        raise InputError(f'--slurm: {args.table} has nothing to run')
    jobs = [(line.name, line.steps) for line in report.lines if line.steps]
    page = write_markdown(report, args.commands)
    texts = {
        args.markdown: page,
        args.html: write_html(report) if args.html else '',
        args.script: shell_script(jobs, settings) if args.script else '',
        args.slurm: slurm_script(jobs, settings, args.gpus or SLURM_GPUS) if args.slurm else '',
    }
    for file, text in texts.items():
        if file is not None:
            write_atomic(file, text.encode())
            print(file)
    if not any(files):
        print(page, end='')


def _report(name: str, settings: Settings, folders: list[Path]) -> Report:
    if name in LISTINGS:
        return report_listing(name, settings)
    return report_table(TABLES[name], settings, Records.read(folders))


def _run(table: str, wanted: str, settings: Settings) -> None:
    row, _, task = wanted.partition(':')
    if table in TABLES:
        found = TABLES[table].find(row)
        steps = row_steps(found, settings, task or None)
        needs = row_needs(found, settings, task or None)
        require(needs)
        check_class_counts(found, settings, task or None)
        run_steps(steps, needs, settings)
        return
    lines = {line.name: line for line in report_listing(table, settings).lines if line.steps}
    if wanted not in lines:
        known = f'choose one of {", ".join(lines)}' if lines else f'{table} has nothing to run'
        raise InputError(f'--run {wanted}: {known}')
    run_steps(lines[wanted].steps, lines[wanted].needs, settings)


if __name__ == '__main__':
    main()
