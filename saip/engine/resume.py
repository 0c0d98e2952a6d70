"""Which checkpoint a run continues, and whether its weights are those of the model.

A checkpoint is read once: what later checks ask about its weights are their shapes, which are kept
in place of them.
"""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper

from saip.checkpoint import CheckpointError, load_checkpoint_file, read_meta
from saip.checkpoint.renamed import drop_unread_twins, rename_state_key
from saip.engine.finite import broken_tensors
from saip.engine.kept_checkpoints import NUMBERED

Shapes = dict[str, torch.Size]
"""Shapes of weights by key."""


@dataclass(frozen=True)
class Resumable:
    """What is known of a checkpoint that a run can be resumed from.

    Attributes:
        shapes: of its weights.
        epoch: epochs that were over.
        iteration: iterations that were done.
    """

    shapes: Shapes
    epoch: int
    iteration: int


NEEDED = ('state_dict', 'optimizer', 'message_hub')
"""Keys without which no run can be resumed."""


def newest_checkpoint(work_dir: Path) -> tuple[Path, Resumable] | None:
    """Find the newest checkpoint of a run that is complete, undamaged and finite.

    Returns:
        Its path and what a run has to know of it; None if there are no checkpoints.

    Raises:
        CheckpointError: there are checkpoints, but none can be resumed.
    """
    named = _last_checkpoint(work_dir)
    files = [path for path in work_dir.glob('*.pth') if NUMBERED.fullmatch(path.name)]
    number = len(files)
    done = {path: _iterations(path) for path in files}
    files.sort(key=lambda path: done[path], reverse=True)
    if named is not None and named.name in {path.name for path in files}:
        # Those that are older than the last one, whatever their epochs, may be of an earlier run.
        written = (work_dir / named.name).stat().st_mtime_ns
        files.sort(key=lambda path: path.stat().st_mtime_ns < written)
    elif named is not None:  # checkpoints lie in another folder
        files.insert(0, named)
    for path in files:
        try:
            return path, check_resumable(path)
        except CheckpointError as error:
            print(f'--resume auto: skipping {error}', file=sys.stderr)
    if files:
        raise CheckpointError(
            f'{work_dir}: all {number} checkpoints are damaged; remove them to begin anew'
        )
    return None


def _last_checkpoint(work_dir: Path) -> Path | None:
    """The file that ``last_checkpoint`` names, from the folder that it lies in."""
    pointer = work_dir / 'last_checkpoint'
    if not pointer.is_file():
        return None
    path = work_dir / pointer.read_text().strip()
    # Earlier versions wrote the whole path, which the folder may have left since.
    return work_dir / path.name if (work_dir / path.name).is_file() else _if_file(path)


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _iterations(path: Path) -> int:
    """Iterations that a checkpoint has done; of a damaged one more than any other's."""
    try:
        return int(read_meta(path).get('iter', 0))
    except CheckpointError:
        return sys.maxsize


def check_resumable(path: Path) -> Resumable:
    """Check that a file is an undamaged training checkpoint with finite contents.

    Raises:
        CheckpointError: it is not.
        FileNotFoundError: there is no such file.
    """
    checkpoint = load_checkpoint_file(path)
    absent = [key for key in NEEDED if key not in checkpoint]
    if absent:
        raise CheckpointError(f'{path}: holds no {absent[0]}, so no run can be resumed from it')
    broken = broken_tensors(checkpoint)
    if broken:
        raise CheckpointError(
            f'{path}: {len(broken)} tensors are not finite, {broken[0]} among them: training had '
            'diverged; resume from an earlier checkpoint'
        )
    meta = checkpoint.get('meta', {})
    found = Resumable(
        shapes_of(checkpoint), int(meta.get('epoch', 0)), int(meta.get('iter', 0))
    )
    del checkpoint
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise CheckpointError(f'{path}: damaged at {damaged}')
    return found


def shapes_of(checkpoint: Mapping[str, Any]) -> Shapes:
    """Shapes of a checkpoint's weights by today's names; what is no tensor counts as a number."""
    weights = checkpoint.get('state_dict', {})
    return {
        rename_state_key(key): value.shape if torch.is_tensor(value) else torch.Size()
        for key, value in weights.items()
    }


def own_and_given(model: torch.nn.Module, shapes: Shapes) -> tuple[Shapes, Shapes]:
    """Shapes of a model's weights, and of a checkpoint's by the same names."""
    inner: torch.nn.Module = model.get_submodule('module') if is_model_wrapper(model) else model
    own = shapes_of({'state_dict': inner.state_dict()})
    given = {re.sub(r'^module\.', '', key): shape for key, shape in shapes.items()}
    drop_unread_twins(given, own)
    return own, given


def compare_weights(own: Shapes, given: Shapes, path: str) -> None:
    """Check that a checkpoint holds the weights of a model, all of them and no others.

    Args:
        own: shapes of the model's weights.
        given: shapes of the checkpoint's, see :func:`own_and_given`.
        path: the checkpoint.

    Raises:
        CheckpointError: names some of the keys that differ.
    """
    differences = {
        'missing': sorted(own.keys() - given.keys()),
        'unexpected': sorted(given.keys() - own.keys()),
        'of another shape': sorted(
            key for key in own.keys() & given.keys() if own[key] != given[key]
        ),
    }
    parts = [
        f'{len(keys)} {what} ({", ".join(keys[:3])}{" ..." if len(keys) > 3 else ""})'
        for what, keys in differences.items()
        if keys
    ]
    if parts:
        raise CheckpointError(f'{path}: not the weights of this model: {"; ".join(parts)}')


def explain_weights(own: Shapes, given: Shapes, cfg: Config, testing: bool) -> str:
    """What a user can do about weights that are not those of the model; empty if unknown."""
    alone = given and all(key.startswith('backbone.') for key in given)
    if alone and any(not key.startswith('backbone.') for key in own):
        return f'. This file holds an encoder alone{_way_of_an_encoder(cfg, testing)}'
    differ = {key for key in own.keys() | given.keys() if own.get(key) != given.get(key)}
    if '$SAIP_BACKBONE' not in cfg.text or not any('backbone.' in key for key in differ):
        return ''
    chosen = os.environ.get('SAIP_BACKBONE', "not set: the configuration's usual encoder")
    return (
        f'. The encoder is the one of SAIP_BACKBONE ({chosen}); it must be that of the training'
    )


def _way_of_an_encoder(cfg: Config, testing: bool) -> str:
    if testing:
        return ', which tools/eval_frozen.py measures; a test needs a checkpoint of a training'
    if 'SAIP_INIT' in cfg.text:
        return ': to begin with it set SAIP_INIT to it, in place of load_from'
    return (
        ': to begin with it set model.backbone.init_cfg to '
        "dict(type='Pretrained', checkpoint=FILE, prefix='backbone.'), or model.init_from, in "
        'place of load_from (docs/training.md, Beginning with other weights)'
    )
