"""Islands of full precision inside mixed-precision training."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager:
    """Switch autocast off; a no-op on the ``meta`` device, which has none."""
    if device.type == 'meta':
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


class FullPrecision:
    """A module that switches autocast off for itself, so that its weights must stay as they are."""


def is_half(x: Tensor) -> bool:
    """Whether a tensor is in half precision."""
    return x.dtype.itemsize < 4


def widen(x: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return x.float() if is_half(x) else x
