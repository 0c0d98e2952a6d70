"""Layers that do nothing but their product."""

from __future__ import annotations

from mmcv.cnn.bricks import wrappers
from torch import nn

PLAIN = (nn.Linear, nn.Conv2d, wrappers.Linear, wrappers.Conv2d)
"""Of which nothing but weight and bias counts, unlike adapters, quantized ones, or those that
standardize their weights."""


def are_plain(*layers: nn.Module) -> bool:
    """Whether layers do nothing but their product, so that a function may stand for them."""
    return all(
        type(layer) in PLAIN and not layer._forward_hooks and not layer._forward_pre_hooks
        for layer in layers
    )
