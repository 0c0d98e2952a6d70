"""Two settings of a downstream task, over seeds: what a change of defaults does on small data.

    python tools/dataset_converters/make_people.py data/small --size small --datasets market1501 \
        pa100k coco lip crowdhuman
    python benchmarks/bench_settings.py data/small --tasks reid attributes parts --seeds 3

Unlike ``bench_tasks.py`` it leaves optimizer, rate, weight decay and the form of the schedule as
the two configurations have them. Images are as small as there, the schedule is a share of the full
one, and a process has its own batch with the rate scaled to it (``--auto-scale-lr``). A finished
run is not repeated. Such short trainings say whether a setting learns at all; they do not say which
one is better on real data after a full schedule.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported

import torch
from bench_tasks import LOADERS, ROOT, crops, crowds, parts, poses
from machine import machine
from mmengine.config import Config

from saip.datasets.files import write_atomic
from saip.engine import launch
from saip.experiments.table import align
from saip.visualization.curves import read_last_validation


@dataclass(frozen=True)
class Settings:
    """One side of a comparison.

    Attributes:
        config: below ``configs/downstream``.
        options: what differs from it.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A task with its former and its present settings.

    Attributes:
        metric: of the validation.
        encoder: of ``configs/_base_/backbones``.
        share: of the full schedule.
        size: from the configuration to what makes the images small.
        former: settings of before.
        present: settings of today.
    """

    metric: str
    encoder: str
    share: float
    size: Callable[[Config], dict[str, Any]]
    former: Settings
    present: Settings


def sized_parts(cfg: Config) -> dict[str, Any]:
    """``parts`` of ``bench_tasks.py`` without its three ends."""
    options = parts(cfg)
    del options['custom_hooks.0.epochs']
    return options


PLAIN, STAGES = 'vit-4blocks-p16', 'starnet-s3'
DETECTION = 'detection/crowddet_crowdhuman'
COMPARISONS = {
    'reid': Comparison(
        'reid/mAP',
        PLAIN,
        0.15,
        crops,
        Settings('reid/solider-settings_market1501', {'model.backbone.drop_path_rate': 0.0}),
        Settings('reid/transreid_market1501'),
    ),
    'attributes': Comparison(
        'attributes/mA',
        STAGES,
        0.5,
        crops,
        Settings('attributes/solider-settings_pa100k'),
        Settings('attributes/par_pa100k'),
    ),
    'parts': Comparison(
        'mIoU',
        PLAIN,
        0.1,
        sized_parts,
        Settings('part_segmentation/schp-settings_lip'),
        Settings('part_segmentation/schp_lip'),
    ),
    'pose': Comparison(
        'coco/AP',
        STAGES,
        0.1,
        poses,
        Settings(
            'pose/vitpose_coco',
            {
                'optim_wrapper.optimizer.weight_decay': 0.1,
                'optim_wrapper.clip_grad': {'_delete_': True, 'max_norm': 1.0, 'norm_type': 2},
            },
        ),
        Settings('pose/vitpose_coco'),
    ),
    'detection': Comparison(
        'crowd_human/mAP',
        PLAIN,
        0.2,
        crowds,
        Settings(DETECTION, {'model.backbone.norm': 'LN', 'model.backbone.coarsest': 'pool'}),
        Settings(DETECTION),
    ),
}


def run(
    compared: Comparison, side: str, data: str, weights: str, seed: int, folder: Path
) -> dict[str, float]:
    """Train one side with one seed, unless that is done; return the last validation."""
    torch.set_num_threads(1)
    settings: Settings = getattr(compared, side)
    out = folder / str(seed)
    record = out / 'metrics.json'
    if record.is_file():
        found: dict[str, float] = json.loads(record.read_text())
        return found
    os.environ |= {
        'SAIP_DATA': data,
        'SAIP_BACKBONE': compared.encoder,
        'SAIP_INIT': weights,
        'SAIP_SCHEDULE': str(compared.share),
    }
    config = str(ROOT / f'configs/downstream/{settings.config}.py')
    cfg = launch.read_config(config)
    epochs = cfg.train_cfg.max_epochs
    options = {
        'randomness.seed': seed,
        'train_cfg.val_interval': epochs,
        'default_hooks.checkpoint.interval': epochs,
        'default_hooks.checkpoint.save_best': None,
        'visualizer.vis_backends': [{'type': 'LocalVisBackend'}],
        **compared.size(cfg),
        **settings.options,
    }
    if 'reid' in settings.config:
        images = Path(data) / 'Market1501/bounding_box_train'
        people = {path.name.split('_')[0] for path in images.glob('*.jpg')}
        options['model.head.num_classes'] = len(people - {'-1', '0000'})
    for loader in LOADERS:
        options |= {
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
            f'{loader}.pin_memory': False,
        }
    started = time.monotonic()
    launch.train(config, work_dir=str(out), options=options, auto_scale_lr=True)
    metrics = {key: float(value) for key, value in read_last_validation(str(out))[1].items()}
    metrics['minutes'] = round((time.monotonic() - started) / 60, 2)
    write_atomic(record, f'{json.dumps(metrics)}\n'.encode())
    for checkpoint in out.glob('*.pth'):
        checkpoint.unlink()
    return metrics


def main() -> int:
    """Train, print the table, keep all metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', help='folder of make_people.py with the sets')
    parser.add_argument('--weights', default='none', help='exported backbone (default: none)')
    parser.add_argument('--encoder', help='in place of the usual one of a task')
    parser.add_argument('--tasks', nargs='+', choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument(
        '--share', type=float, help='of the schedule, in place of the usual one'
    )
    parser.add_argument('--jobs', type=int, default=2, help='trainings beside each other')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/settings'))
    args = parser.parse_args()
    # A process for each run: a logger and its folder last as long as one.
    pool = multiprocessing.get_context('spawn').Pool(args.jobs, maxtasksperchild=1)
    waiting: dict[str, Any] = {}
    table = [['task', 'metric', 'former', 'present']]
    rows: dict[str, Any] = {}
    for name in args.tasks:
        usual = COMPARISONS[name]
        compared = Comparison(
            usual.metric,
            args.encoder or usual.encoder,
            args.share or usual.share,
            usual.size,
            usual.former,
            usual.present,
        )
        waiting[name] = (
            compared,
            {
                side: [
                    pool.apply_async(
                        run,
                        (compared, side, args.data, args.weights, seed, args.out / name / side),
                    )
                    for seed in range(args.seeds)
                ]
                for side in ('former', 'present')
            },
        )
    for name, (compared, sides) in waiting.items():
        cells = []
        for side, results in sides.items():
            found = [result.get() for result in results]
            rows.setdefault(name, {})[side] = found
            values = [metrics[compared.metric] for metrics in found]
            spread = f' ± {statistics.stdev(values):.3g}' if len(values) > 1 else ''
            cells.append(f'{statistics.fmean(values):.3g}{spread}')
            print(name, side, cells[-1], file=sys.stderr, flush=True)
        table.append([name, compared.metric, *cells])
        text = json.dumps(
            {'machine': machine(), 'weights': args.weights, 'rows': rows}, indent=2
        )
        write_atomic(args.out / 'settings.json', f'{text}\n'.encode())
    print(align(table))
    return 0


if __name__ == '__main__':
    sys.exit(main())
