"""Outlines of garments as run lengths and masks, and the box of the person who wears them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_masks
from torch import Tensor

from saip.datasets.fashionpedia import Segmentation

HUMAN_MARGIN = 10
"""Pixels by which the box of a person is larger than that of the garments, on each side."""


def run_lengths(outline: Segmentation, size: tuple[int, int]) -> dict[str, Any]:
    """Return compressed run lengths.

    Args:
        outline: polygons, which are filled, or run lengths.
        size: (width, height) of the image.
    """
    width, height = size
    if isinstance(outline, list):
        return coco_masks.merge(coco_masks.frPyObjects(outline, height, width))
    if isinstance(outline['counts'], list):
        return coco_masks.frPyObjects(outline, height, width)
    return outline


def mask_of(outline: Segmentation, size: tuple[int, int]) -> np.ndarray:
    """Return a mask (h, w) uint8 of an outline in an image of a size (width, height)."""
    return coco_masks.decode(run_lengths(outline, size))


def human_box(boxes: Tensor, size: tuple[float, float], margin: Sequence[float]) -> Tensor:
    """Return the box (4,) of a person: that of all garments, larger by a margin, in the image.

    Args:
        boxes: (N, 4) corners x0, y0, x1, y1 of garments, N at least 1.
        size: (width, height) of the image.
        margin: in x and in y.
    """
    rim, end = boxes.new_tensor(margin), boxes.new_tensor(size)
    first = (boxes[:, :2].amin(dim=0) - rim).clamp(min=0)
    last = torch.minimum(boxes[:, 2:].amax(dim=0) + rim, end)
    return torch.cat([first, last])
