"""Contents of a checkpoint as tensors and plain values, which load without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

BUFFER_KEY = 'history_buffer'


def to_plain(value: Any) -> Any:
    """Replace log buffers and numpy values by tensors and Python's own types.

    Raises:
        TypeError: a value of another kind, which could not be read back safely.
    """
    if isinstance(value, HistoryBuffer):
        rows = torch.tensor(np.stack(value.data), dtype=torch.float64)
        return {BUFFER_KEY: rows, 'max_length': value.max_length}
    if isinstance(value, dict):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        items = [to_plain(item) for item in value]
        return items if isinstance(value, list) else type(value)(items)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | bytes | torch.Tensor):
        return value
    kind = type(value).__name__
    raise TypeError(f'a checkpoint cannot hold a {kind} ({value!r:.80}): unsafe to load')


def restore_buffers(checkpoint: dict[str, Any]) -> None:
    """Turn the plain values of a message hub back into mmengine's log buffers, in place."""
    scalars = checkpoint.get('message_hub', {}).get('log_scalars', {})
    for name, value in scalars.items():
        if isinstance(value, dict) and BUFFER_KEY in value:
            log, counts = value[BUFFER_KEY].tolist()
            scalars[name] = HistoryBuffer(log, counts, value['max_length'])
