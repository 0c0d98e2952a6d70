"""Train the runs of a comparison, each in a process of its own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

from saip.datasets.files import write_atomic
from saip.errors import InputError, StoppedError
from saip.experiments.compare.length import Length, TrainSet, plan_length
from saip.experiments.compare.records import RunRecord
from saip.experiments.compare.rows import Row
from saip.experiments.compare.settings import Comparison
from saip.experiments.training_process import run_training

MEASURED_STEPS = 24
"""Steps of the measurement of a row's speed; the first third is not counted."""


def checkpoint_of(folder: Path, length: Length) -> Path:
    """File of the last checkpoint of a run."""
    return folder / f'epoch_{length.epochs}.pth'


def train_run(
    comparison: Comparison, row: Row, seed: int, length: Length, folder: Path, record: RunRecord
) -> None:
    """Train what is not finished yet; an interrupted training goes on.

    Raises:
        StoppedError: the process stopped with an error, or wrote no last checkpoint.
    """
    last = checkpoint_of(folder, length)
    if last.is_file():
        return
    options = comparison.row_options(row, seed, length)
    started = time.monotonic()
    try:
        _train(comparison, row, length, folder, options)
    finally:
        record.seconds += time.monotonic() - started
        record.write(folder)
    if not last.is_file():
        raise StoppedError(f'{folder}: the training ended without its checkpoint {last.name}')


def _train(
    comparison: Comparison, row: Row, length: Length, folder: Path, options: list[str]
) -> None:
    command = [sys.executable, str(comparison.tools / 'train.py'), str(comparison.leaf())]
    command += ['--work-dir', str(folder), '--resume', 'auto', '--no-validate']
    command += ['--cfg-options', *options]
    run_training(
        command, folder, comparison.variables(row, length), f'{row.text}: the training'
    )


def lengths_of(comparison: Comparison, train_set: TrainSet, folder: Path) -> dict[Row, Length]:
    """Length of the trainings of each row.

    A number of images is the same for all. Of a wall time each training gets an equal share,
    less what it takes to start; how many images that is, follows from the speed of the row, which
    is measured once and kept, so that a comparison that goes on has the same lengths.

    Raises:
        InputError: there are too few images, or too little time for a step.
    """
    rows = comparison.trained
    if comparison.images is not None:
        length = plan_length(train_set, comparison.images, comparison.batch)
        return dict.fromkeys(rows, length)
    assert comparison.minutes is not None
    share = 60 * comparison.minutes / max(1, len(rows) * comparison.seeds)
    return {
        row: _length_of_time(comparison, row, train_set, share, folder / row.folder)
        for row in rows
    }


def _length_of_time(
    comparison: Comparison, row: Row, train_set: TrainSet, share: float, folder: Path
) -> Length:
    """As many steps as a share of the time holds.

    Raises:
        InputError: the share is over before the first step.
    """
    start, step = _measure(comparison, row, train_set, folder)
    steps = int((share - start) / step)
    if steps < 1:
        raise InputError(
            f'--time {comparison.minutes}: {share:.0f} s for each training, and {row.text} takes '
            f'{start:.0f} s to start and {step:.2f} s per step; give more time, or fewer rows or '
            'seeds'
        )
    return plan_length(train_set, steps * comparison.batch, comparison.batch)


def _measure(
    comparison: Comparison, row: Row, train_set: TrainSet, folder: Path
) -> tuple[float, float]:
    """Seconds that a training of a row takes to start and to end, and those of a step.

    A short training is timed. Its steps are read from its log, where each loss is read from the
    device, so that a step has ended when it is timed.
    """
    path = folder / 'speed.json'
    if path.is_file():
        kept = json.loads(path.read_text(encoding='utf-8'))
        return kept['start_seconds'], kept['step_seconds']
    batch = comparison.batch
    length = plan_length(train_set, MEASURED_STEPS * batch, batch)
    options = [
        *comparison.row_options(row, 0, length),
        'default_hooks.logger.interval=1',
        'log_processor.window_size=1',
    ]
    run = folder / f'run_{time.time_ns()}'  # one that was interrupted is not continued
    started = time.monotonic()
    _train(comparison, row, length, run, options)
    seconds = time.monotonic() - started
    times = [value for _, value in _read_steps(run)]
    step = statistics.median(times[len(times) // 3 :])
    # Slow first steps count as a part of the start.
    start = max(0.0, seconds - len(times) * step)
    found = {'start_seconds': start, 'step_seconds': step}
    write_atomic(path, f'{json.dumps(found)}\n'.encode())
    checkpoint_of(run, length).unlink()
    return start, step


def _read_steps(run: Path) -> list[tuple[float, float]]:
    """(step, seconds) of each step of a run that logged every step."""
    files = sorted(run.glob('*/vis_data/scalars.json'))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [(line['step'], line['time']) for line in lines if 'time' in line and 'loss' in line]
