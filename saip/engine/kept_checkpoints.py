"""Which checkpoints of a run lie in its folder, and which of them are too many."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saip.checkpoint import CheckpointError, read_meta

RUN_KEY = 'run_id'
"""Name of the entry in a checkpoint's meta, and of the message hub's, that tells runs apart."""

NUMBERED = re.compile(r'(?:epoch|iter)_(\d+)\.pth')
"""Names of checkpoints that a run can be resumed from."""


class KeptCheckpoints:
    """The checkpoints of one run in a folder, in the order in which they were written.

    The order is what the files say: those of a copied folder have other times on the disk.

    A run that was killed between the writing of a checkpoint and the removal of an outdated one
    left more than it should have. So the folder is looked at, and not a list that an earlier
    process had; the files of another run in it are left alone.

    Args:
        folder: where they lie; it need not exist yet.
        run_id: what their metas call this run.
        earlier: names of files that belong to it, whose metas have no such entry.
    """

    def __init__(self, folder: Path, run_id: str, earlier: Sequence[str] = ()) -> None:
        metas = {path.name: meta_of(path) for path in numbered(folder)}
        own = {
            name: meta
            for name, meta in metas.items()
            if name in earlier or meta.get(RUN_KEY) == run_id
        }
        self._names = sorted(own, key=lambda name: written(own[name]))

    def add(self, name: str, most: int) -> list[str]:
        """Note a checkpoint that was written; return the names of those that are too many now.

        Args:
            name: of the file.
            most: how many to keep; 0 or less keeps all.
        """
        self._names = [other for other in self._names if other != name] + [name]
        if most <= 0:
            return []
        outdated, self._names = self._names[:-most], self._names[-most:]
        return outdated


def numbered(folder: Path) -> list[Path]:
    """Checkpoints of a folder that a run can be resumed from."""
    return [path for path in folder.glob('*.pth') if NUMBERED.fullmatch(path.name)]


def meta_of(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; nothing if it is damaged."""
    try:
        return read_meta(path)
    except CheckpointError:
        return {}


def written(meta: Mapping[str, Any]) -> tuple[str, int]:
    """When a checkpoint was written: the time of the clock, and the iterations done by then."""
    return str(meta.get('time', '')), int(meta.get('iter', 0))
