"""Masks at pixel resolution as targets of the cells of a feature map."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.structures import Grid

CELL_RULES = ('cover', 'nearest')


def cell_targets(scene_masks: Tensor, grid: Grid, rule: str) -> Tensor:
    """Which cells of a feature map show the query.

    Args:
        scene_masks: (B, Q, H, W) float 0/1.
        grid: of the feature map.
        rule: ``cover``: at least half of the cell; ``nearest``: its top-left pixel.

    Returns:
        (B, Q, h, w) float 0/1.

    Raises:
        InputError: unknown rule.
    """
    if rule == 'cover':
        covered = F.adaptive_avg_pool2d(scene_masks, grid) >= 0.5
        return covered.to(scene_masks.dtype)
    if rule == 'nearest':
        return F.interpolate(scene_masks, size=grid, mode='nearest')
    raise InputError(f'unknown cell rule {rule!r}; allowed: {", ".join(CELL_RULES)}')
