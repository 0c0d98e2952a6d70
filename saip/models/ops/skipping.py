"""Moving state unless the optimizer step was skipped, without a wait for a GPU.

A flag on the CPU is read; one on a GPU is computed with, since reading it would stall the host.
"""

from __future__ import annotations

import torch
from torch import Tensor


def readable(flag: Tensor) -> bool:
    """Whether the host can read a flag at once."""
    return flag.device.type == 'cpu'


def weight_unless(skipped: Tensor, weight: float) -> Tensor:
    """``weight`` as a tensor of shape (), 0 if ``skipped``, on its device.

    A product of two device values and a number: nothing is copied from the host.
    """
    return skipped.logical_not() * weight


@torch.no_grad()
def move_towards(ours: list[Tensor], theirs: list[Tensor], weight: Tensor) -> None:
    """Add ``weight`` (shape ()) times the difference to ours; no lerp takes a device scalar.

    Theirs must be finite, for 0 times NaN is NaN.
    """
    change = torch._foreach_sub(theirs, ours)
    torch._foreach_mul_(change, weight)
    torch._foreach_add_(ours, change)
