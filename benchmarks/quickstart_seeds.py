"""The quickstart's training with several seeds: what the trained networks retrieve, and the spread.

    python benchmarks/quickstart_seeds.py --seeds 3                # synthetic persons
    python benchmarks/quickstart_seeds.py --data FOLDER --seeds 1  # two-view recall on crops

About nine minutes a seed on two CPU cores alone. Interrupted trainings go on, finished ones are not
repeated. The images stay the same: seeds are those of weights and order.
"""

import saip.startup  # noqa: F401, before torch

import argparse
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine

from saip.datasets.files import write_atomic
from saip.datasets.person_images import PersonImages
from saip.engine.launch import train
from saip.experiments.compared_encoders import (
    evaluate_compared_encoders,
    find_compared_encoders,
)
from saip.experiments.table import align
from saip.quickstart.run import HOLDOUT, choose_plan
from saip.synthetic.market import SIZES, write_market1501

ROOT = Path(__file__).resolve().parents[1]


def run(data: Path, labeled: bool, seed: int, out: Path) -> dict[str, Any]:
    """Train and evaluate with one seed, unless that is done; return the evaluation."""
    record = out / 'result.json'
    if record.is_file():
        found: dict[str, Any] = json.loads(record.read_text())
        return found
    plan = choose_plan(ROOT / 'configs', folder=not labeled, gpu=False)
    holdout = 0 if labeled else HOLDOUT
    images = len(
        PersonImages(str(data / 'bounding_box_train' if labeled else data), holdout=holdout)
    )
    epochs = math.ceil(plan.images / (images // plan.batch * plan.batch))
    os.environ |= {
        'SAIP_EPOCHS': str(epochs),
        'SAIP_PEOPLE' if labeled else 'SAIP_FOLDER': str(data),
    }
    started = time.monotonic()
    options = {'randomness.seed': seed, 'default_hooks.checkpoint.save_best': None}
    train(str(plan.config), work_dir=str(out), resume='auto', options=options)
    minutes = (time.monotonic() - started) / 60
    compared = find_compared_encoders(str(out / f'epoch_{epochs}.pth'))
    result = evaluate_compared_encoders(compared, data, holdout, num_workers=0)
    result |= {'epochs': epochs, 'minutes': minutes}
    write_atomic(record, f'{json.dumps(result, indent=2)}\n'.encode())
    return result


def main() -> int:
    """Train, print the table, keep all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--data', type=Path, help='a folder of person crops (default: draw them)'
    )
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/quickstart-seeds'))
    args = parser.parse_args()
    data = args.data or args.out / 'people'
    if args.data is None:
        write_market1501(data, SIZES['quickstart'], workers=os.cpu_count() or 1)
    # A process for each run: a logger and its folder last as long as one.
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        results = [
            pool.apply(run, (data.resolve(), args.data is None, seed, args.out / str(seed)))
            for seed in range(args.seeds)
        ]
    metrics = ('Rank-1', 'mAP') if args.data is None else ('recall@1',)
    table = [['features', *metrics, *(f'{metrics[-1]}, seed {n}' for n in range(args.seeds))]]
    for name in results[0]['rows']:
        values = {m: [result['rows'][name][m] for result in results] for m in metrics}
        cells = [f'{statistics.fmean(v):.1f}{_spread(v)}' for v in values.values()]
        table.append([name, *cells, *(f'{value:.1f}' for value in values[metrics[-1]])])
    write_atomic(
        args.out / 'results.json',
        f'{json.dumps({"machine": machine(), "runs": results}, indent=2)}\n'.encode(),
    )
    print(align(table))
    return 0


def _spread(values: list[float]) -> str:
    return f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''


if __name__ == '__main__':
    sys.exit(main())
