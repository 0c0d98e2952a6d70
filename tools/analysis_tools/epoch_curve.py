"""Draw a metric over the epochs of a pretraining, from the backbones that it has exported.

    python tools/analysis_tools/epoch_curve.py work_dirs/RUN --data data/market1501
    python tools/analysis_tools/epoch_curve.py work_dirs/RUN --task TASK_CONFIG --gpus 4

With --data the frozen features are evaluated, as tools/eval_frozen.py does. With --task a
fine-tuning begins with each backbone; called again, it continues where it was stopped. Results
and curve are in RUN/epoch_curve.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.errors import one_line_errors
from saip.experiments.epoch_curve import retrieval_curve
from saip.experiments.finetune_job import Task
from saip.experiments.finetuning import finetuning_curve
from saip.experiments.frozen_options import NAMES, add_frozen_options, frozen_settings

TOOLS = Path(__file__).resolve().parents[1]
FRAGMENTS = TOOLS.parent / 'configs/_base_/backbones'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw a metric over the pretraining epochs')
    parser.add_argument('run', metavar='RUN', help='a work directory, or its folder backbones')
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument('--data', help='evaluate frozen features on this folder of images')
    kind.add_argument('--task', metavar='CONFIG', help='fine-tune what this config describes')
    parser.add_argument(
        '--metric',
        help='what is drawn (default: mAP or recall@1; of a task what it chooses checkpoints by, '
        'or what it reports first)',
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='of the results (default: RUN/epoch_curve)'
    )
    data = parser.add_argument_group('with --data')
    add_frozen_options(data)
    task = parser.add_argument_group('with --task')
    task.add_argument('--gpus', type=int, default=1, help='processes per fine-tuning')
    task.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='replace parts of the configuration',
    )
    args = parser.parse_args()
    foreign = NAMES if args.task else ('gpus', 'cfg_options')
    for name in foreign:
        if getattr(args, name) != parser.get_default(name):
            other = '--data' if args.task else '--task'
            parser.error(f'--{name.replace("_", "-")} goes with {other}')
    if args.gpus < 1:
        parser.error('--gpus must be at least 1')
    args.settings = frozen_settings(parser, args)
    return args


@one_line_errors()
def main() -> None:
    """Draw the curve and print its table."""
    args = parse_args()
    if args.data:
        table, image = retrieval_curve(
            args.run, args.data, args.metric, args.out, **args.settings
        )
    else:
        task = Task(args.task, args.cfg_options, args.gpus, TOOLS)
        table, image = finetuning_curve(args.run, task, FRAGMENTS, args.metric, args.out)
    print(f'{table}\n{image}')


if __name__ == '__main__':
    main()
