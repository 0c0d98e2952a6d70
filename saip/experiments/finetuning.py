"""A downstream metric over the epochs of a pretraining: a fine-tuning from each export."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from saip.errors import InputError, StoppedError
from saip.experiments.backbone_configs import find_backbone_config
from saip.experiments.epoch_curve import FOLDER, EpochCurve, Point
from saip.experiments.exported_backbones import find_exported_backbones
from saip.experiments.finetune_job import CONFIG_DIGEST, Task, outside, read_task, usual_metric
from saip.experiments.training_process import run_training, say
from saip.visualization.curves import read_last_validation


def finetuning_curve(
    run: str | Path,
    task: Task,
    fragments: Path,
    metric: str | None = None,
    out: str | Path | None = None,
) -> tuple[str, Path]:
    """Fine-tune from every exported backbone of a run; what is finished is not done again.

    The record is ``<name of the task's configuration>.json``, written after every point, the
    image lies beside it, and each fine-tuning has its work directory in a folder of that
    name. Progress goes to stderr.

    Args:
        run: the work directory of a pretraining, or its folder ``backbones``.
        task: what is trained.
        fragments: folder with a file for each encoder, see :func:`find_backbone_config`.
        metric: what is drawn; by default what the configuration chooses checkpoints by, or the
            first metric that is reported.
        out: folder of the results, by default ``RUN/epoch_curve``.

    Returns:
        A table, and the image's file.

    Raises:
        FileNotFoundError: there is no run or no exported backbone.
        StartError: the task cannot be trained from a given file.
        StoppedError: a fine-tuning stopped.
        ValueError: a file cannot be used, the record is of other settings, or there is no such
            metric.
    """
    work_dir, exports = find_exported_backbones(run)
    backbone = find_backbone_config(exports[0].meta['architecture'], fragments)
    variables = outside(backbone, exports[0])
    cfg = read_task(task, variables)
    record = Path(out or work_dir / FOLDER, f'{Path(task.config).stem}.json')
    curve = _open_curve(record, task.settings(cfg, variables))
    done = {(point.epoch, point.tensors_sha256) for point in curve.points}
    waiting = [export for export in exports if (export.epoch, export.digest) not in done]
    started = time.monotonic()
    for number, export in enumerate(waiting, start=1):
        folder = curve.path.with_suffix('') / export.path.stem
        say(f'[{number}/{len(waiting)}] epoch {export.epoch}: fine-tuning in {folder}')
        metrics = _finetune(task, folder, outside(backbone, export), cfg.train_cfg.max_epochs)
        kept = [point for point in curve.points if point.epoch != export.epoch]
        curve.points = sorted([*kept, Point.of(export, metrics)], key=lambda p: p.epoch)
        curve.write()
        seconds = (time.monotonic() - started) / number
        left = timedelta(seconds=round(seconds * (len(waiting) - number)))
        say(f'[{number}/{len(waiting)}] epoch {export.epoch}: done, {left} left')
    chosen = curve.choose_metric(metric, usual_metric(cfg))
    return curve.table(chosen), curve.draw(chosen, from_zero=False)


def _open_curve(path: Path, settings: dict[str, Any]) -> EpochCurve:
    """Go on with a record, or begin one.

    Raises:
        ValueError: the file holds something else, or points of other settings.
    """
    curve = EpochCurve(path, settings)
    if not path.exists():
        curve.write()
        return curve
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        former = record['settings']
        curve.points = [Point(**point) for point in record['points']]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: no record of a curve; remove it') from error
    for key, value in settings.items():
        if former.get(key) == value:
            continue
        if key == CONFIG_DIGEST:
            raise InputError(
                f'{path}: the configuration {settings["task"]} says something else than it did '
                'for these points: it, a file that it inherits, or a variable that one of them '
                'reads has been changed; undo that, or choose another folder with --out'
            )
        raise InputError(
            f'{path}: its points are of {key}={former.get(key)}, and now it is {value}; '
            'choose another folder with --out'
        )
    return curve


def _finetune(
    task: Task, work_dir: Path, variables: Mapping[str, str], epochs: int
) -> dict[str, float]:
    """Train in a process of its own; return what the validation after the last epoch says.

    Raises:
        StoppedError: the process stopped with an error, or that validation is missing.
    """
    what = f'{variables["SAIP_INIT"]}: fine-tuning'
    run_training(task.command(work_dir), work_dir, variables, what)
    step, metrics = read_last_validation(work_dir)
    if step != epochs:
        raise StoppedError(
            f'{work_dir}: the last validation is of epoch {step} and not {epochs}; remove the '
            f'checkpoint of epoch {epochs} there, and its epochs are trained again'
        )
    return metrics
