"""Whether what a checkpoint holds is finite: weights, averages, states of the optimizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

CONSTANTS_KEY = 'not_finite_from_the_start'
"""Entry of a checkpoint's meta: buffers that were not finite before the first step, as masks."""

_NO_STATE = ('meta', 'message_hub')
"""Keys that a run does not compute with: its log may hold NaN."""

_WEIGHTS = ('state_dict.', 'ema_state_dict.module.', 'ema_state_dict.')
"""Where a checkpoint keeps weights under their names; the second is mmengine's average."""


def infinite_constants(model: nn.Module) -> list[str]:
    """Names of the buffers that hold infinite values or NaN before a training."""
    return [name for name, buffer in model.named_buffers() if not _is_finite(buffer)]


def broken_tensors(checkpoint: Mapping[str, Any]) -> list[str]:
    """Names of tensors that hold NaN or infinite values, whatever part of the run they are.

    Buffers that the checkpoint's meta calls constants may hold what they like, averaged ones too.
    """
    meta = checkpoint.get('meta')
    constants = set(meta.get(CONSTANTS_KEY, ()) if isinstance(meta, Mapping) else ())
    allowed = {f'{place}{name}' for place in _WEIGHTS for name in constants}
    parts = {key: value for key, value in checkpoint.items() if key not in _NO_STATE}
    return [
        name
        for name, tensor in _tensors(parts, '')
        if not _is_finite(tensor) and name not in allowed
    ]


def _tensors(node: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield name, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _tensors(value, f'{name}.{key}' if name else str(key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _tensors(value, f'{name}.{index}')


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())
