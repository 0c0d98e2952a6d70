"""Pasting images into scenes, and where the queries lie then."""

from __future__ import annotations

import torch
from torch import Tensor

from saip.views.sizes import Size


def paste(
    scene: Tensor, images: Tensor, rows: Tensor, top: Tensor, left: Tensor, alpha: float
) -> Tensor:
    """Blend one image into each of some scenes, in place.

    Args:
        scene: (B, 3, H, W) contiguous.
        images: (B, 3, h, w).
        rows: (M,) the scenes that are changed.
        top: (M,) rows of the images' upper edges; the images lie inside.
        left: (M,) columns of their left edges.
        alpha: opacity.
    """
    channels, height, width = scene.shape[1:]
    y = top[:, None] + torch.arange(images.shape[2], device=scene.device)
    x = left[:, None] + torch.arange(images.shape[3], device=scene.device)
    plane = rows[:, None] * channels + torch.arange(channels, device=scene.device)
    line = plane[:, :, None] * height + y[:, None]
    index = line[..., None] * width + x[:, None, None]
    flat = scene.view(-1)
    flat[index] = torch.lerp(flat[index], images[rows], alpha)
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
