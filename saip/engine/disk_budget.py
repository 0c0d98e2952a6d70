"""How much a run will keep on the disk, and whether there is room for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn

from saip.engine.unwrap import unwrap
from saip.errors import StartError, number_of

KEY = 'default_hooks.checkpoint.max_keep_ckpts'
"""The option that makes a run keep less."""

MARGIN = 1.05
"""Logs and curves beside the checkpoints."""


@dataclass(frozen=True)
class Budget:
    """What a run keeps at the most.

    Attributes:
        checkpoints: number of training checkpoints, the one that is being written included.
        best: number of the best ones, which are no larger.
        exports: number of exported backbones.
        bytes: of all of them.
    """

    checkpoints: int
    best: int
    exports: int
    bytes: int


def budget_of(
    cfg: Mapping[str, Any],
    epochs: int,
    iterations: int,
    checkpoint_bytes: int,
    backbone_bytes: int,
) -> Budget:
    """What the hooks of a configuration keep.

    Args:
        cfg: the configuration.
        epochs: of the run; a loop of iterations is one epoch to its hooks.
        iterations: of the run.
        checkpoint_bytes: size of one training checkpoint.
        backbone_bytes: size of one exported backbone.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    written = _written(hook, epochs if hook.get('by_epoch', True) else iterations)
    kept = hook.get('max_keep_ckpts', -1)
    # The one before is removed after its successor is on the disk.
    checkpoints = min(written, kept + 1) if kept > 0 else written
    best = hook.get('save_best')
    number_of_best = 0 if not best else len(best) if isinstance(best, list | tuple) else 1
    # A best one, too, is removed after its successor is there.
    number_of_best += bool(best)
    # After every interval and after the last epoch, in two formats.
    exports = 2 * sum(-(-epochs // entry.get('interval', 50)) for entry in _exporting(cfg))
    total = (checkpoints + number_of_best) * checkpoint_bytes + exports * backbone_bytes
    return Budget(checkpoints, number_of_best, exports, round(MARGIN * total))


def _written(hook: Mapping[str, Any], length: int) -> int:
    """How many checkpoints a hook writes in a run of a length, in the hook's own unit."""
    interval, begin = hook.get('interval', -1), hook.get('save_begin', 0)
    since = length - begin
    if interval <= 0 or since < 0:
        written, rest = 0, True
    else:
        written, rest = since // interval + bool(begin), bool(since % interval)
    return written + (rest and hook.get('save_last', True))


def _exporting(cfg: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in cfg.get('custom_hooks') or []:
        if str(entry.get('type')).endswith('ExportBackboneHook'):
            yield entry


def warn_of_room(runner: Runner) -> None:
    """Tell a run that is about to begin that the disk will be full before its end.

    The size of a checkpoint is estimated: an optimizer keeps up to two numbers per weight. What
    an earlier part of the run has left in the folder counts as room.
    """
    model: nn.Module = unwrap(runner.model)
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    checkpoint = sum(value.nbytes for value in model.state_dict().values()) + 2 * trained
    epochs, iterations = length_of(runner)
    budget = budget_of(runner.cfg, epochs, iterations, checkpoint, backbone_bytes(runner))
    folder = Path(runner.work_dir)
    there = sum(path.stat().st_size for path in folder.glob('*.pth'))
    free = free_bytes(folder)
    if free + there < budget.bytes:
        runner.logger.warning(
            f'{folder}: the run keeps up to about {size(budget.bytes)} ({described(budget)}), and '
            f'{size(free)} are free: make room, or lower {KEY}'
        )


def length_of(runner: Runner) -> tuple[int, int]:
    """Epochs and iterations of a training, for :func:`budget_of`."""
    counts_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    return (runner.max_epochs if counts_epochs else 1), runner.max_iters


def backbone_bytes(runner: Runner) -> int:
    """Size of the tensors of an exported backbone; of the whole model where it has none."""
    model: nn.Module = unwrap(runner.model)
    encoder = dict(model.named_children()).get('backbone', model)
    return sum(value.nbytes for value in encoder.state_dict().values())


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def check_disk(folder: Path, budget: Budget) -> None:
    """Refuse a run that cannot keep what it will write.

    Args:
        folder: of the run.
        budget: what it keeps.

    Raises:
        StartError: says how much is missing.
    """
    free = free_bytes(folder)
    if free < budget.bytes:
        raise StartError(
            f'work_dir {folder}: the run keeps up to {size(budget.bytes)} '
            f'({described(budget)}), and {size(free)} are free: {size(budget.bytes - free)} are '
            f'missing. Make room, choose another disk with --work-dir, or lower {KEY}'
        )


def described(budget: Budget) -> str:
    """Number of files of each kind."""
    parts = [number_of(budget.checkpoints, 'checkpoint'), number_of(budget.best, 'best one')]
    if budget.exports:
        parts.append(number_of(budget.exports, 'exported backbone'))
    return ', '.join(parts)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ('B', 'kB', 'MB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:,.1f} GB'
