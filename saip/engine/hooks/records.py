"""Writes the records of a run's results; every run that the tools start has this hook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.atomic_backend import NO_ROOM
from saip.engine.records import (
    TRAINED,
    ResultRecord,
    continued,
    describe_data,
    describe_training,
    evaluation_digest,
)


class RecordHook(Hook):
    """Say in every checkpoint how it was trained, and in a file what every evaluation found.

    See :mod:`saip.engine.records`. A checkpoint that is resumed keeps what it says, and what a
    test is told by a checkpoint stands in its record.
    """

    def __init__(self) -> None:
        self.trained: dict[str, Any] | None = None
        self.loaded: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Describe the training; the checkpoint that it continues has been read by now."""
        now = describe_training(runner.cfg, get_world_size())
        self.trained = (
            continued(self.loaded.get(TRAINED), now) if runner.cfg.get('resume') else now
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep what the checkpoint says of itself."""
        self.loaded = dict(checkpoint.get('meta') or {})

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the description to the meta."""
        checkpoint['meta'][TRAINED] = self.trained

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Record a validation during a training."""
        self._write(runner, 'val', self.trained, runner.epoch, '', metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Record a test of a checkpoint."""
        checkpoint = Path(str(runner.cfg.get('load_from') or '')).name
        trained, epoch = self.loaded.get(TRAINED), int(self.loaded.get('epoch') or 0)
        self._write(runner, 'test', trained, epoch, checkpoint, metrics)

    @master_only
    def _write(
        self,
        runner: Runner,
        phase: str,
        trained: dict[str, Any] | None,
        epoch: int,
        checkpoint: str,
        metrics: dict[str, Any] | None,
    ) -> None:
        if not metrics:
            return
        data, drawn = describe_data(runner.cfg, phase)
        record = ResultRecord(
            phase=phase,
            config='/'.join(Path(runner.cfg.filename or 'unnamed').parts[-2:]),
            evaluation=evaluation_digest(runner.cfg, phase),
            trained=trained,
            epoch=epoch,
            checkpoint=checkpoint,
            data=data,
            drawn=drawn,
            metrics={
                name: float(value)
                for name, value in metrics.items()
                if isinstance(value, int | float | np.number)
            },
        )
        try:
            record.write(runner.work_dir)
        except OSError as error:  # a checkpoint is worth the end of a run, a record is not
            if error.errno not in NO_ROOM:
                raise
            runner.logger.error(f'{error}: the record of this evaluation is not written')
