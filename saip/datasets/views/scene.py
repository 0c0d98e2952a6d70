"""Copy-paste scenes and where their queries lie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.datasets.views.recipe import Size
from saip.structures import Grid

CELL_RULES = ('cover', 'nearest')


def paste(
    scene: Tensor, pictures: Tensor, rows: Tensor, top: Tensor, left: Tensor, alpha: float
) -> Tensor:
    """Blend one picture into each of some scenes, in place.

    Args:
        scene: (B, 3, H, W) contiguous.
        pictures: (B, 3, h, w).
        rows: (M,) the scenes that are changed.
        top: (M,) rows of the pictures' upper edges; the pictures lie inside.
        left: (M,) columns of their left edges.
        alpha: opacity.
    """
    channels, height, width = scene.shape[1:]
    y = top[:, None] + torch.arange(pictures.shape[2], device=scene.device)
    x = left[:, None] + torch.arange(pictures.shape[3], device=scene.device)
    plane = rows[:, None] * channels + torch.arange(channels, device=scene.device)
    line = plane[:, :, None] * height + y[:, None]
    index = line[..., None] * width + x[:, None, None]
    flat = scene.view(-1)
    flat[index] = torch.lerp(flat[index], pictures[rows], alpha)
    return scene


def query_masks(boxes: Tensor, rank: Tensor, scene: Size, queries: int, hide: bool) -> Tensor:
    """Where each query lies.

    Args:
        boxes: (B, n, 4) top, left, bottom, right of the pastes, the queries first.
        rank: (B, n) order of pasting.
        scene: size of the scene.
        queries: how many of the pastes are queries.
        hide: whether later pastes hide a query; otherwise its whole rectangle counts.

    Returns:
        (B, queries, H, W) float 0/1.
    """
    top, left, bottom, right = boxes[..., None].unbind(2)
    y = torch.arange(scene[0], device=boxes.device)
    x = torch.arange(scene[1], device=boxes.device)
    rows = (y >= top) & (y < bottom)
    cols = (x >= left) & (x < right)
    covered = rows[..., None] & cols[:, :, None]
    masks = covered[:, :queries].clone()
    if hide:
        for q in range(queries):
            later = (rank > rank[:, q : q + 1])[:, :, None, None]
            masks[:, q] &= ~(covered & later).any(dim=1)
    return masks.float()


def cell_targets(scene_masks: Tensor, grid: Grid, rule: str) -> Tensor:
    """Which cells of a feature map show the query.

    Args:
        scene_masks: (B, Q, H, W) float 0/1.
        grid: of the feature map.
        rule: ``cover``: at least half of the cell; ``nearest``: its top-left pixel.

    Returns:
        (B, Q, h, w) float 0/1.

    Raises:
        ValueError: unknown rule.
    """
    if rule == 'cover':
        covered = F.adaptive_avg_pool2d(scene_masks, grid) >= 0.5
        return covered.to(scene_masks.dtype)
    if rule == 'nearest':
        return F.interpolate(scene_masks, size=grid, mode='nearest')
    raise ValueError(f'unknown cell rule {rule!r}; allowed: {", ".join(CELL_RULES)}')
