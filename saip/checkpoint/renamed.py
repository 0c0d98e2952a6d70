"""Names of earlier versions of the project: files are translated, configs refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

STATE_PREFIXES = {
    'expert.projector.': 'expert.csm_projector.',
    'expert.pixel_norm.': 'expert.dense_norm.',
    'pixel_norm.': 'dense_norm.',
}
"""Beginnings of keys of a checkpoint's weights."""

HISTORY = {
    'train/loss_spread': 'train/loss_koleo',
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
    'MatrixDecayConstructor': 'its name is saip.NoBiasDecayConstructor',
    'TokenSpread': 'its name is saip.KoLeo',
    'RelationMatching': 'its name is saip.AttentionRelationDistillation',
    'RelationHead': 'its name is saip.AttentionRelationHead',
    'CrossScaleAlignment': 'its name is saip.FeatureDistillation',
    'AlignmentProjector': 'its name is saip.FeatureProjector',
    'AlignmentHead': 'its name is saip.FeatureDistillationHead',
}
"""Types that are gone, and what took their place."""

_VIEWS = 'model.data_preprocessor.views'
_COLORS = f'augment=dict(jitter=..., gray=..., flip=...) of each view in {_VIEWS}'
KEYS = {'own_weight': 'its name is lambda_value'}
"""Keys that are gone wherever they stand, and what took their place."""

OPTIONS = {
    'model.data_preprocessor.anchor': f"{_VIEWS}.anchor=dict(type='Crop', ...)",
    'model.data_preprocessor.augmented': f"{_VIEWS}.augmented=dict(type='Crop', ...)",
    'model.data_preprocessor.locals': f"{_VIEWS}.local_crops=dict(type='Crop', ...)",
    'model.data_preprocessor.multires': (
        f"{_VIEWS}.multires=dict(type='Rescale', scales=...), or type='OfficialRescale' for "
        "source='official'; scales are factors such as .75 and no eighths"
    ),
    'model.data_preprocessor.masked': (
        f"{_VIEWS}.masked=dict(type='Masked', of=..., scales=..., mask=dict(type='RandomMask', "
        'ratio=...))'
    ),
    'model.data_preprocessor.scene': (
        f"{_VIEWS}.scene=dict(type='Scene', distractors=...) with distractors for others, or "
        "type='OfficialScene' for layout='official'"
    ),
    'model.data_preprocessor.jitter': _COLORS,
    'model.data_preprocessor.gray': _COLORS,
    'model.data_preprocessor.flip': _COLORS,
}
"""Options of a pretraining that are gone, by their dotted paths, and what took their place."""


UNREAD_TWINS = ('expert.dense_norm.',)
"""Beginnings of keys that earlier versions wrote even where nothing read them."""


def drop_unread_twins(state: dict[str, Any], wanted: Collection[str]) -> None:
    """Remove averages from weights, in place, that the model of today does not keep.

    Args:
        state: weights, or other values by their keys.
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


def explain_option(path: str) -> str | None:
    """Explain a dotted key of a configuration that is gone; None where it is not known."""
    for old, new in OPTIONS.items():
        if path == old or path.startswith(f'{old}.'):
            return f'{path} is gone: {new}'
    end = path.rsplit('.', 1)[-1]
    return f'{path} is gone: {KEYS[end]}' if end in KEYS else None


def find_renamed(cfg: Any) -> str | None:
    """Explain the first old name in a configuration; None where there is none."""
    model = cfg.get('model') or {}
    if str(model.get('type', '')).rsplit('.', 1)[-1] in ('SAIP', 'Pretrainer'):
        for key in model.get('data_preprocessor') or {}:
            gone = explain_option(f'model.data_preprocessor.{key}')
            if gone is not None:
                return gone
    diagnostics = {old.removeprefix('train/'): new for old, new in HISTORY.items()}
    for path, value in _values(cfg, ''):
        if path.rsplit('.', 1)[-1] in KEYS:
            return explain_option(path)
        if not isinstance(value, str):
            continue
        kind = value.rsplit('.', 1)[-1]
        if path.rsplit('.', 1)[-1] in ('type', 'constructor') and kind in TYPES:
            return f'{path}={value} is gone: {TYPES[kind]}'
        new = diagnostics.get(value.removeprefix('train/'))
        if new is not None:
            return (
                f'{path}={value}: the log names a diagnostic after its objective now, '
                f'{new.removeprefix("train/")} for the objective csm'
            )
    return None


def _values(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All plain values of a configuration with their dotted paths."""
    if isinstance(node, Mapping):
        items: Any = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    else:
        yield path, node
        return
    for key, value in items:
        yield from _values(value, f'{path}.{key}' if path else str(key))
