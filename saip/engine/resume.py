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
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.model import is_model_wrapper

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.checkpoint.finite import broken_tensors
from saip.checkpoint.renamed import drop_unread_twins, rename_state_key
from saip.engine.kept_checkpoints import RUN_KEY, meta_of, numbered, written
from saip.engine.processes import decided_by_first
from saip.errors import number_of, one_line

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


def agreed_checkpoint(
    work_dir: Path, named: Path | None = None
) -> tuple[Path, Resumable] | None:
    """The checkpoint that all processes of a run continue; process 0 chooses it.

    A folder may look otherwise from another machine, and processes that continue different steps
    would wait for each other for ever.

    Args:
        work_dir: folder of the run.
        named: the checkpoint, where a user has named it.

    Returns:
        As :func:`newest_checkpoint`.

    Raises:
        CheckpointError: it cannot be resumed, or another process finds another file there.
        FileNotFoundError: there is no file of the name.
    """

    def choose() -> tuple[Path, Resumable] | None:
        return newest_checkpoint(work_dir) if named is None else (named, check_resumable(named))

    found = decided_by_first(choose)
    difference = None if found is None or is_main_process() else _difference(*found)
    differences = [text for text in all_gather_object(difference) if text is not None]
    if differences:
        raise CheckpointError(differences[0])
    return found


def _difference(path: Path, chosen: Resumable) -> str | None:
    """What is wrong with a process's own view of a checkpoint; None if it is the chosen one."""
    try:
        if check_resumable(path) == chosen:
            return None
        found = 'another checkpoint'
    except (CheckpointError, OSError) as error:
        found = one_line(error)
    return (
        f'--resume: process 0 has chosen {path}, after {chosen.iteration} iterations, and process '
        f'{get_rank()} finds there: {found}. All processes have to see one work_dir'
    )


def newest_checkpoint(work_dir: Path) -> tuple[Path, Resumable] | None:
    """Find the newest checkpoint of a run that is complete, undamaged and finite.

    The newest is the one with the most epochs and iterations, by what the files say: times on the
    disk change when a folder is copied. Those of the run that wrote ``last_checkpoint`` come
    first, but for those that it had written before it went back to an earlier one.

    Returns:
        Its path and what a run has to know of it; None if there are no checkpoints.

    Raises:
        CheckpointError: there are checkpoints, but none can be resumed.
    """
    checkpoints = _newest_first(work_dir)
    for path in checkpoints:
        try:
            return path, check_resumable(path)
        except CheckpointError as error:
            print(f'--resume auto: skipping {error}', file=sys.stderr)
    if checkpoints:
        files = (
            'the only checkpoint is'
            if len(checkpoints) == 1
            else f'all {len(checkpoints)} checkpoints are'
        )
        raise CheckpointError(f'{work_dir}: {files} damaged; remove them to begin anew')
    return None


def _newest_first(work_dir: Path) -> list[Path]:
    metas = {path: meta_of(path) for path in numbered(work_dir)}
    named = _last_checkpoint(work_dir)
    if named is not None and work_dir / named.name not in metas:  # they lie in another folder
        return [named, *sorted(metas)]
    last = {} if named is None else metas[work_dir / named.name]

    def order(path: Path) -> tuple[bool, bool, int, int, bool]:
        meta = metas[path]
        if not meta:  # damaged: first, so that it is named
            return False, False, -sys.maxsize, 0, False
        of_another_run = bool(last) and meta.get(RUN_KEY) != last.get(RUN_KEY)
        given_up = bool(last) and written(meta)[0] < written(last)[0]
        done = -int(meta.get('epoch', 0)), -int(meta.get('iter', 0))
        earlier = named is None or path.name != named.name
        return of_another_run, given_up, *done, earlier

    return sorted(metas, key=order)


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
            f'{path}: {number_of(len(broken), "tensor")} not finite ({broken[0]}): training had '
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
