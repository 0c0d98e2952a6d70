"""The backbones that a pretraining run has exported, by epoch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.engine.hooks.export import EXPORT_FOLDER
from saip.errors import InputError, MissingFileError

KINDS = ('.pth', '.safetensors')
SHARED = ('architecture', 'statistics', 'which')
"""What the exported files of one run have in common."""


@dataclass(frozen=True)
class ExportedBackbone:
    """One exported backbone.

    Attributes:
        epoch: of the pretraining, counted from 1.
        path: the file.
        meta: what it says about itself.
    """

    epoch: int
    path: Path
    meta: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the tensors."""
        return self.meta['tensors_sha256']


def find_exported_backbones(run: str | Path) -> tuple[Path, list[ExportedBackbone]]:
    """Find what ``saip.ExportBackboneHook`` has written; of two formats one is taken.

    Where a resumed run has exported an epoch again with other weights, the newer file counts,
    since what follows descends from it; that is said on stderr.

    Args:
        run: the work directory of a pretraining, or its folder ``backbones``.

    Returns:
        The work directory, and the backbones by epoch.

    Raises:
        FileNotFoundError: no such folder, no folder ``backbones`` in it, or nothing in that.
        CheckpointError: a file is damaged, is no exported backbone, or names no epoch.
        ValueError: the files are not of one run.
    """
    folder = _backbones_of(Path(run).expanduser())
    files = {path.stem: path for kind in reversed(KINDS) for path in folder.glob(f'*{kind}')}
    if not files:
        raise MissingFileError(
            f'{folder}: no exported backbone (*.pth, *.safetensors); saip.ExportBackboneHook '
            'writes one every `interval` epochs of a pretraining'
        )
    found: dict[int, ExportedBackbone] = {}
    for path in sorted(files.values(), key=lambda path: (path.stat().st_mtime, path.name)):
        export = _read(path)
        former = found.get(export.epoch)
        if former is not None:
            print(
                f'{former.path}: left out, epoch {export.epoch} was exported again to '
                f'{path.name}',
                file=sys.stderr,
            )
        found[export.epoch] = export
    exports = [found[epoch] for epoch in sorted(found)]
    _check_one_run(exports)
    return folder.parent, exports


def _backbones_of(run: Path) -> Path:
    if not run.is_dir():
        raise MissingFileError(
            f'{run}: no such folder; name the work directory of a pretraining'
        )
    folder = run if run.resolve().name == EXPORT_FOLDER else run / EXPORT_FOLDER
    if not folder.is_dir():
        raise MissingFileError(
            f'{run}: has no folder {EXPORT_FOLDER}/, in which a pretraining with '
            'saip.ExportBackboneHook writes its backbones'
        )
    return folder


def _read(path: Path) -> ExportedBackbone:
    meta = load_checkpoint_file(path).get('meta') or {}
    missing = [key for key in (*SHARED, 'tensors_sha256') if key not in meta]
    if missing:
        raise CheckpointError(
            f'{path}: no exported backbone, its meta has no {missing[0]}; move it elsewhere, or '
            'export it with tools/export_backbone.py'
        )
    epoch = meta.get('epoch')
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        raise CheckpointError(
            f'{path}: its meta has epoch={epoch!r} where the number of the pretraining epoch '
            'should be; move the file elsewhere'
        )
    return ExportedBackbone(epoch, path, meta)


def _check_one_run(exports: list[ExportedBackbone]) -> None:
    first = exports[0]
    for other in exports[1:]:
        for key in SHARED:
            if other.meta[key] != first.meta[key]:
                raise InputError(
                    f'{other.path}: its {key} is {other.meta[key]}, that of {first.path.name} is '
                    f'{first.meta[key]}; a curve needs backbones of one run'
                )
