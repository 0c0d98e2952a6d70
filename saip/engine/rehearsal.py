"""The beginning of a run, done once for its errors: a batch, a step, a checkpoint, nothing kept."""

from __future__ import annotations

import copy
import gc
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.checkpoint import load_checkpoint_file
from saip.engine.disk_budget import backbone_bytes, existing, length_of
from saip.errors import StartError

TIMED = 3
"""Steps after the first one, which is slower than the others."""


@dataclass
class Rehearsed:
    """What a rehearsal found out.

    Attributes:
        images: in a batch.
        seconds_to_batch: from the start of the training to its first batch.
        seconds: of each micro-batch, the first left out where there is another.
        loss: of the last one.
        checkpoint_bytes: size of a checkpoint.
        backbone_bytes: size of an exported backbone.
        epochs: of the run; 1 for a loop of iterations.
        iterations: of the run, on one process.
        validated: images in a batch of the validation; 0 without one.
    """

    images: int = 0
    seconds_to_batch: float = 0.0
    seconds: list[float] = field(default_factory=list)
    loss: float = math.nan
    checkpoint_bytes: int = 0
    backbone_bytes: int = 0
    epochs: int = 1
    iterations: int = 0
    validated: int = 0


class _DoneError(Exception):
    """Ends a rehearsal from within the loop of its training."""


class _FirstSteps(Hook):
    """Watches the first steps of a training, saves a checkpoint and ends it."""

    priority = 'LOWEST'

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.found = Rehearsed()
        self.last = time.perf_counter()

    def before_train(self, runner: Runner) -> None:
        self.last = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if not self.found.images:
            self.found.images = _length(data_batch)
            self.found.seconds_to_batch = time.perf_counter() - self.last

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.found.seconds.append(now - self.last)
        self.last = now
        loss = torch.as_tensor((outputs or {}).get('loss', math.nan))
        self.found.loss = float(loss.detach())
        if len(self.found.seconds) >= self.steps:
            self._save(runner)
            raise _DoneError

    def _save(self, runner: Runner) -> None:
        """Write a checkpoint as its hook does, and read it back."""
        runner.save_checkpoint(runner.work_dir, 'rehearsal.pth')
        path = Path(runner.work_dir, 'rehearsal.pth')
        self.found.checkpoint_bytes = path.stat().st_size
        load_checkpoint_file(path)
        self.found.backbone_bytes = backbone_bytes(runner)


def rehearse(runner: Runner, cfg: Config) -> Rehearsed:
    """Do the first steps of a training and save a checkpoint in the runner's work directory.

    Args:
        runner: as the training has it, but in a folder of its own.
        cfg: its configuration.

    Raises:
        StartError: the loss is not finite, or the batch is too large for the device's memory.
    """
    accumulated = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
    loop = runner.train_loop
    steps = max(accumulated, min(1 + TIMED, len(loop.dataloader), loop.max_iters))
    hook = _FirstSteps(min(steps, loop.max_iters))
    runner.register_hook(hook)
    loop.val_interval = loop.max_iters + 1  # an epoch may be shorter than the rehearsal
    try:
        runner.train()
    except _DoneError:
        pass
    except torch.cuda.OutOfMemoryError as error:
        raise StartError(
            f'train_dataloader.batch_size={hook.found.images}: more than the memory of the GPU '
            'holds; lower it and raise optim_wrapper.accumulative_counts by the same factor'
        ) from error
    found = hook.found
    if not math.isfinite(found.loss):
        raise StartError(
            f'the loss of step {len(found.seconds)} is {found.loss}: with these settings the run '
            'has nothing to learn from; lower optim_wrapper.optimizer.lr, or compute in float32 '
            '(docs/training.md, Steps that are not finite)'
        )
    found.seconds = found.seconds[1:] or found.seconds
    found.epochs, found.iterations = length_of(runner)
    found.validated = _validate_batch(runner)
    return found


def _validate_batch(runner: Runner) -> int:
    """Let the model predict one batch of the validation; its number of images."""
    if runner.val_loop is None:
        return 0
    batch = next(iter(runner.val_loop.dataloader))
    runner.model.eval()
    with torch.no_grad():
        runner.model.val_step(batch)
    return _length(batch)


def _length(batch: Any) -> int:
    """Number of images in a batch of any library."""
    if isinstance(batch, Mapping):
        batch = batch.get('inputs', next(iter(batch.values())))
        return _length(batch) if isinstance(batch, Mapping) else len(batch)
    return len(batch)


@contextmanager
def rehearsed_in(cfg: Config) -> Iterator[Config]:
    """A configuration that writes into a folder beside its own, which is removed in the end.

    It lies on the same disk, so that what cannot be written there is found out. Nothing goes to
    services that collect logs.
    """
    parent = existing(Path(cfg.work_dir))
    with tempfile.TemporaryDirectory(
        prefix='.saip-check-', dir=parent, ignore_cleanup_errors=True
    ) as folder:
        copied = copy.deepcopy(cfg)
        copied.work_dir = folder
        copied.experiment_name = f'check_{time.time_ns()}'
        copied.log_level = 'WARNING'
        if copied.get('visualizer'):
            copied.visualizer.vis_backends = [dict(type='LocalVisBackend')]
        try:
            yield copied
        finally:
            gc.collect()  # workers of loaders end with their iterators
