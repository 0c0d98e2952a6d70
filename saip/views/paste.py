"""Pasting images into scenes, and where the queries lie then."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from saip.views.sizes import Size


def offsets(rows: np.ndarray, corners: np.ndarray, scene: tuple[int, ...]) -> np.ndarray:
    """Where images begin in the flattened scenes.

    Args:
        rows: (M,) the scenes.
        corners: (M, 2) rows and columns of the images' upper left corners.
        scene: shape (B, 3, H, W).
    """
    channels, height, width = scene[1:]
    return (rows * channels * height + corners[:, 0]) * width + corners[:, 1]


def offsets_inside(images: Tensor, scene: Tensor) -> Tensor:
    """Where the values of an image lie in the flattened scenes, from where it begins on.

    Returns:
        (3, h, w) for images (B, 3, h, w) and scenes (B, 3, H, W).
    """
    height, width = scene.shape[2:]
    plane, y, x = (torch.arange(n, device=scene.device) for n in images.shape[1:])
    return (plane[:, None, None] * height + y[:, None]) * width + x


def paste(
    scene: Tensor, images: Tensor, rows: Tensor, corner: Tensor, inside: Tensor, alpha: float
) -> Tensor:
    """Blend one image into each of some scenes, in place.

    Args:
        scene: (B, 3, H, W) contiguous.
        images: (B, 3, h, w).
        rows: (M,) the scenes that are changed.
        corner: (M,) see :func:`offsets`; the images lie inside.
        inside: (3, h, w) see :func:`offsets_inside`.
        alpha: opacity.
    """
    index = corner[:, None, None, None] + inside
    flat = scene.view(-1)
    flat[index] = torch.lerp(flat[index], images[rows], alpha)
    return scene


def query_masks(boxes: Tensor, rank: Tensor, scene: Size, queries: int, hide: bool) -> Tensor:
    """Where each query lies.

    Args:
        boxes: (B, n, 4) top, left, bottom, right of the pastes, the queries first.
        rank: (B, n) order of pasting, 0 ... n - 1.
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
    if not hide:
        return (rows[:, :queries, :, None] & cols[:, :queries, None]).float()
    # Numbers of the pastes by their order, from 1 on: the largest one of a pixel is what is seen.
    number = (rank + 1).to(torch.uint8)[..., None]
    seen = (rows * number)[..., None].mul(cols[:, :, None]).amax(1, keepdim=True)
    return (seen == number[:, :queries, None]).float()
