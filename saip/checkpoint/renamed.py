"""Names of earlier versions of the project: files are translated, configs refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

STATE_PREFIXES = {'expert.projector.': 'expert.csm_projector.'}
"""Beginnings of keys of a checkpoint's weights."""

HISTORY = {
    'train/teacher_entropy': 'train/csm_teacher_entropy',
    'train/loss_over_ln_k': 'train/csm_loss_over_ln_k',
    'train/entropy_over_ln_k': 'train/csm_entropy_over_ln_k',
}
"""Names in a checkpoint's history of the log."""

_PROGRESS = "default_hooks=dict(progress=dict(type='saip.ProgressHook'))"
TYPES = {
    'ViewClockHook': f'{_PROGRESS}, part of configs/_base_/default_runtime.py, does its work',
    'ExpertUpdateHook': (
        'the momentum belongs to the expert: model.expert.momentum='
        "dict(type='saip.CosineSchedule', start=..., end=...); schedule='epoch' is "
        f'saip.OfficialEMAExpert with saip.OfficialCosineSchedule; {_PROGRESS} tells the time'
    ),
    'FreezePrototypesHook': (
        'freezing belongs to the objective: model.objectives.csm.frozen_epochs (of '
        'saip.CrossScaleMatching)'
    ),
}
"""Types that are gone, and what took their place."""


UNREAD_TWINS = ('expert.pixel_norm.',)
"""Beginnings of keys that earlier versions wrote even where nothing read them."""


def drop_unread_twins(state: dict[str, Any], wanted: Collection[str]) -> None:
    """Remove averages from weights, in place, that the model of today does not keep.

    Args:
        state: weights, or anything else by their keys.
        wanted: keys of the model.
    """
    for key in list(state):
        inner = key.removeprefix('module.')
        if inner.startswith(UNREAD_TWINS) and inner not in wanted:
            del state[key]


def rename_state_key(key: str) -> str:
    """Today's name of a key of weights, with or without the prefix of a distributed model."""
    wrapped = 'module.' if key.startswith('module.') else ''
    inner = key[len(wrapped) :]
    for old, new in STATE_PREFIXES.items():
        if inner.startswith(old):
            return wrapped + new + inner[len(old) :]
    return key


def translate_checkpoint(checkpoint: dict[str, Any]) -> None:
    """Give weights and history of an old training checkpoint today's names, in place."""
    state = checkpoint.get('state_dict', {})
    for key in list(state):
        new = rename_state_key(key)
        # In the order of the file; the metadata of a state dict stays with it.
        state[new] = state.pop(key)
    hub = checkpoint.get('message_hub', {})
    for part in ('log_scalars', 'resumed_keys'):
        names = hub.get(part, {})
        for old, new in HISTORY.items():
            if old in names:
                names[new] = names.pop(old)


def find_renamed(cfg: Any) -> str | None:
    """Explain the first old name in a configuration; None where there is none."""
    diagnostics = {old.removeprefix('train/'): new for old, new in HISTORY.items()}
    for path, value in _strings(cfg, ''):
        kind = value.rsplit('.', 1)[-1]
        if path.rsplit('.', 1)[-1] == 'type' and kind in TYPES:
            return f'{path}={value} is gone: {TYPES[kind]}'
        new = diagnostics.get(value.removeprefix('train/'))
        if new is not None:
            return (
                f'{path}={value}: the log names a diagnostic after its objective now, '
                f'{new.removeprefix("train/")} for the objective csm'
            )
    return None


def _strings(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """All texts of a configuration with their dotted paths."""
    if isinstance(node, str):
        yield path, node
        return
    items: Any = ()
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        yield from _strings(value, f'{path}.{key}' if path else str(key))
