"""Which of two ways computes the same values: that of a CPU or that of a GPU."""

from __future__ import annotations

from torch import Tensor

OF_A_CPU = ('cpu',)
"""Devices that take a CPU's way; none where a GPU's is to be counted on a CPU."""


def takes_cpu_way(x: Tensor) -> bool:
    """Whether a tensor lies where sparse products and vectorized passes are faster."""
    return x.device.type in OF_A_CPU
