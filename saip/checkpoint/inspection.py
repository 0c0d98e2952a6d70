"""What is in a checkpoint file, read without running its code."""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from saip.checkpoint.config_text import parse_config_text
from saip.checkpoint.finite import CONSTANTS_KEY, broken_tensors
from saip.checkpoint.io import CheckpointError, file_sha256, load_checkpoint_file
from saip.checkpoint.meta import stored_preset
from saip.errors import number_of

_WEIGHTS = ('state_dict', 'model', 'model_state_dict', 'teacher', 'student')
"""Keys under which files keep their weights; ours and OpenMMLab's is the first."""

_SHOWN = 5
_VERSIONS = ('saip_version', 'mmengine_version', 'mmpretrain_version', 'time')


@dataclass(frozen=True)
class Inspected:
    """What a file holds.

    Attributes:
        kind: ``pretraining``, ``training`` (of another model), ``backbone`` (exported or
            converted), ``weights`` (of a training, without what resuming needs) or ``foreign``.
        rows: names and values in the order in which they are read.
        commands: what the file can be used for; empty where its values are not finite.
        broken: tensors that hold NaN or infinite values, those of the optimizer and of averages
            included; buffers that did so before the first step are not.
    """

    kind: str
    rows: list[tuple[str, str]]
    commands: list[str]
    broken: list[str]


def inspect_file(path: str | os.PathLike) -> Inspected:
    """Describe a ``.pth`` or ``.safetensors`` file.

    Raises:
        CheckpointError: the file cannot be read, or reading it would run code.
        FileNotFoundError: there is no such file.
    """
    checkpoint = load_checkpoint_file(path)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    config = _config(meta)
    weights = _weights(checkpoint)
    kind = _kind(checkpoint, meta, weights)
    broken = [_shown_name(name) for name in broken_tensors(checkpoint)]
    constants = [str(name) for name in meta.get(CONSTANTS_KEY, ())]
    rows = [
        ('file', f'{path}, {Path(path).stat().st_size:,} bytes'),
        ('kind', _KINDS[kind]),
        *_of_encoder(meta, config),
        *_of_training(checkpoint, meta, config),
        *_of_tensors(weights, broken, constants),
        *[(key.replace('_', ' '), str(meta[key])) for key in _VERSIONS if meta.get(key)],
        ('SHA-256', file_sha256(path)),
    ]
    if meta.get('tensors_sha256'):
        rows.append(('of tensors', f'{meta["tensors_sha256"]}, as written in the file'))
    commands = [] if broken else _commands(kind, _is_pretraining(meta), shlex.quote(str(path)))
    return Inspected(kind, rows, commands, broken)


_KINDS = {
    'pretraining': 'training checkpoint of a pretraining',
    'training': 'training checkpoint of another model, such as a fine-tuning',
    'weights': 'weights of a training, without the optimizer: a run cannot be resumed from it',
    'backbone': 'exported or converted backbone',
    'foreign': 'foreign: it says nothing of an encoder of this project',
}


def _commands(kind: str, pretraining: bool, path: str) -> list[str]:
    of_encoder = [f'python tools/eval_frozen.py {path} IMAGES']
    export = f'python tools/export_backbone.py {path}'
    resume = f'python tools/train.py CONFIG --resume {path}'
    test = f'python tools/test.py CONFIG {path}'
    return {
        'pretraining': [resume, export, *of_encoder],
        'training': [resume, test],
        'weights': [export, *of_encoder] if pretraining else [test],
        'backbone': [*of_encoder, f'SAIP_INIT={path} python tools/train.py CONFIG'],
        'foreign': [
            f'python tools/model_converters/{name}_to_saip.py --help'
            for name in ('timm', 'openmmlab', 'path', 'release')
        ],
    }[kind]


def _kind(
    checkpoint: Mapping[str, Any], meta: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> str:
    if 'optimizer' in checkpoint and 'message_hub' in checkpoint:
        return 'pretraining' if _is_pretraining(meta) else 'training'
    if 'cfg' in meta:
        return 'weights'
    alone = all(key.startswith('backbone.') for key in weights)
    return 'backbone' if 'architecture' in meta and weights and alone else 'foreign'


def _is_pretraining(meta: Mapping[str, Any]) -> bool:
    """Whether a pretraining of this project wrote the file; older ones say it by their config."""
    text = str(meta.get('cfg') or '')
    return 'objectives' in meta or "'saip.SAIP'" in text or "'saip.Pretrainer'" in text


def _weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file, wherever it keeps them."""
    for name in _WEIGHTS:
        if isinstance(checkpoint.get(name), Mapping):
            checkpoint = checkpoint[name]
            break
    return {str(key): value for key, value in checkpoint.items() if torch.is_tensor(value)}


def _shown_name(name: str) -> str:
    """A tensor's name in its file, without the dict of the weights, which need no word."""
    place, _, rest = name.partition('.')
    if place in _WEIGHTS:
        return rest
    return f'optimizer: {rest}' if place == 'optimizer' else name


def _config(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stored configuration; empty without one, or where it holds more than plain values."""
    text = meta.get('cfg')
    try:
        return parse_config_text(text) if isinstance(text, str) else {}
    except CheckpointError:
        return {}


def _of_encoder(
    meta: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """The encoder and its options, and what trained it."""
    encoder = meta.get('architecture')
    model = config.get('model') or {}
    if encoder is None:
        backbone = model.get('backbone') or {}
        encoder = backbone.get('encoder', backbone)
    if encoder:
        options = {key: value for key, value in encoder.items() if key != 'type'}
        stated = ', '.join(f'{key}={value!r}' for key, value in options.items())
        yield 'encoder', f'{encoder.get("type")} ({stated})'
    if meta.get('which'):
        yield 'network', str(meta['which'])
    method = stored_preset(meta) or config.get('preset')
    objectives = meta.get('objectives') or list(model.get('objectives') or {})
    if method or objectives:
        yield 'method', f'{method or "no preset"} ({", ".join(map(str, objectives))})'
    elif model:
        yield 'model', str(model.get('type'))
    if meta.get('data'):
        yield 'data', ', '.join(map(str, meta['data']))


def _of_training(
    checkpoint: Mapping[str, Any], meta: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Where in its run the file was written."""
    if meta.get('experiment_name'):
        yield 'config', str(meta['experiment_name'])
    step = meta.get('iter', meta.get('iteration'))
    if meta.get('epoch') is not None or step is not None:
        end = _end(config)
        yield 'epoch', f'{meta.get("epoch")}, step {step}' + (f' of {end}' if end else '')
    for name, value in sorted(_metrics(checkpoint).items()):
        yield name, f'{value:.4g}'


def _end(config: Mapping[str, Any]) -> str:
    """The length of the run and the end of its schedule, as its configuration says them."""
    loop = config.get('train_cfg') or {}
    if not loop:
        return ''
    length = f'{loop.get("max_epochs")} epochs'
    if loop.get('max_iters'):
        length = f'{loop["max_iters"]} steps'
    schedules = config.get('param_scheduler') or []
    listed = schedules if isinstance(schedules, list | tuple) else [schedules]
    ends = [entry['end'] for entry in listed if isinstance(entry, Mapping) and entry.get('end')]
    return f'{length}; schedule to {max(ends)}' if ends else length


def _metrics(checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Last values of the validation that a message hub keeps."""
    scalars = (checkpoint.get('message_hub') or {}).get('log_scalars') or {}
    found = {}
    for name, buffer in scalars.items():
        value = _last(buffer)
        if str(name).startswith(('val/', 'test/')) and not math.isnan(value):
            found[str(name)] = value
    return found


def _last(buffer: Any) -> float:
    if isinstance(buffer, HistoryBuffer):
        return float(buffer.current())
    rows = buffer.get('history_buffer') if isinstance(buffer, Mapping) else None
    return float(rows[0, -1]) if torch.is_tensor(rows) and rows.numel() else math.nan


def _of_tensors(
    weights: Mapping[str, Tensor], broken: list[str], constants: list[str]
) -> Iterator[tuple[str, str]]:
    """Numbers by part, types, and what is not finite."""
    parts: Counter[str] = Counter()
    for key, value in weights.items():
        parts[_part(key)] += value.numel()
    total = sum(parts.values())
    yield 'numbers', f'{total:,} in {len(weights)} tensors (parameters and buffers)'
    for part, count in parts.items():
        yield f'  {part}', f'{count:,}'
    types = Counter(str(value.dtype).removeprefix('torch.') for value in weights.values())
    yield 'types', ', '.join(f'{count} {name}' for name, count in types.most_common())
    yield (
        'not finite',
        f'{number_of(len(broken), "tensor")}: {_some(broken)}' if broken else 'none',
    )
    if constants:
        yield 'constants', f'not finite from the start, as masks: {_some(constants)}'


def _some(names: list[str]) -> str:
    return ', '.join(names[:_SHOWN]) + (' ...' if len(names) > _SHOWN else '')


def _part(key: str) -> str:
    """``backbone``, ``expert.backbone``, ``objectives.csm`` ...: what a weight belongs to."""
    words = key.split('.')
    nested = words[0] in ('objectives', 'expert') and len(words) > 2
    return '.'.join(words[: 2 if nested else 1])
