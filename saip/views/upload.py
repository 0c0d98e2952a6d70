"""From the host to the device, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Bring arrays to the device in one transfer: int64 if all are integers, else float32."""
    integral = all(np.issubdtype(a.dtype, np.integer) for a in arrays)
    flat = np.concatenate([a.ravel() for a in arrays])
    host = torch.from_numpy(flat.astype(np.int64 if integral else np.float32))
    if device.type == 'cuda':
        # From memory that is not pinned, the driver may first wait for all work in the queue.
        host = host.pin_memory()
    parts = host.to(device, non_blocking=True).split([prod(a.shape) for a in arrays])
    return [part.view(a.shape) for part, a in zip(parts, arrays, strict=True)]
