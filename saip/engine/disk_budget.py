"""How much a run will keep on the disk, and whether there is room for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saip.errors import StartError

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
    cfg: Mapping[str, Any], length: int, checkpoint_bytes: int, backbone_bytes: int
) -> Budget:
    """What the hooks of a configuration keep.

    Args:
        cfg: the configuration.
        length: of the run, in epochs, or in iterations for a loop of iterations.
        checkpoint_bytes: size of one training checkpoint.
        backbone_bytes: size of one exported backbone.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    interval = hook.get('interval', -1)
    written = max(1, length // interval) if interval > 0 else 1
    kept = hook.get('max_keep_ckpts', -1)
    # The one before is removed after its successor is on the disk.
    checkpoints = min(written, kept + 1) if kept > 0 else written
    best = hook.get('save_best')
    number_of_best = 0 if not best else len(best) if isinstance(best, list | tuple) else 1
    # A best one, too, is removed after its successor is there.
    number_of_best += bool(best)
    exports = 2 * sum(length // entry.get('interval', 50) + 1 for entry in _exporting(cfg))
    total = (checkpoints + number_of_best) * checkpoint_bytes + exports * backbone_bytes
    return Budget(checkpoints, number_of_best, exports, round(MARGIN * total))


def _exporting(cfg: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in cfg.get('custom_hooks') or []:
        if str(entry.get('type')).endswith('ExportBackboneHook'):
            yield entry


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def check_disk(folder: Path, budget: Budget, interval_key: str) -> None:
    """Refuse a run that cannot keep what it will write.

    Args:
        folder: of the run.
        budget: what it keeps.
        interval_key: option that makes it less.

    Raises:
        StartError: says how much is missing.
    """
    free = free_bytes(folder)
    if free < budget.bytes:
        raise StartError(
            f'work_dir {folder}: the run keeps up to {size(budget.bytes)} '
            f'({described(budget)}), and {size(free)} are free: {size(budget.bytes - free)} are '
            f'missing. Make room, choose another disk with --work-dir, or lower {interval_key}'
        )


def described(budget: Budget) -> str:
    """Number of files of each kind."""
    exports = f', {budget.exports} exported backbones' if budget.exports else ''
    return f'{budget.checkpoints} checkpoints, {budget.best} best ones{exports}'


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ('B', 'kB', 'MB'):
        if count < 1000:
            return f'{count:.3g} {unit}'
        count /= 1000
    return f'{count:,.1f} GB'
