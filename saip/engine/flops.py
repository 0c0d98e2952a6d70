"""Counting the floating-point operations of a computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_flops(compute: Callable[[], Any]) -> int:
    """Floating-point operations of matrix products and convolutions, backward pass included.

    torch's counter does not see the CPU's fused attention, so attention is computed by plain
    matrix products while counting. Tensors on the ``meta`` device cost nothing to count.

    Args:
        compute: runs the computation once.

    Returns:
        Operations; a multiply-add counts as two.
    """
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        compute()
    return counter.get_total_flops()
