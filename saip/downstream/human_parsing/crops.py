"""Between label maps and the square maps that a head predicts for boxes.

A square map covers its box exactly: the center of cell (i, j) of S x S lies at
``x0 + (j + 1/2) (x1 - x0) / S`` and accordingly in y, as RoIAlign places its samples. A pixel's
center has whole coordinates plus 1/2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class PartCrop(NamedTuple):
    """A window of a person's label map; everything outside of it is background.

    It takes the place of a map of the whole image: for a hundred people in an image of a megapixel
    these are a hundred megabytes.

    Attributes:
        left: column of the image where ``labels`` begins.
        top: row of the image where ``labels`` begins.
        labels: (h, w) uint8; 0 is the background.
    """

    left: int
    top: int
    labels: np.ndarray


def crop_targets(maps: Tensor, boxes: Tensor, people: Tensor, side: int) -> Tensor:
    """Labels of people at the cells of boxes.

    Args:
        maps: (P, h, w) uint8, a label map per person; pixels of others are background.
        boxes: (R, 4) corners x0, y0, x1, y1 in pixels, which may reach beyond the map: there is
            background.
        people: (R,) whose map a box is cut from.
        side: S.

    Returns:
        (R, S, S) int64, the label of the pixel in which a cell's center lies.
    """
    height, width = maps.shape[1:]
    steps = (torch.arange(side, device=boxes.device, dtype=boxes.dtype) + 0.5) / side
    columns, in_width = _pixels(boxes[:, 0], boxes[:, 2], steps, width)
    rows, in_height = _pixels(boxes[:, 1], boxes[:, 3], steps, height)
    labels = maps[people[:, None, None], rows[:, :, None], columns[:, None, :]].long()
    return labels * (in_height[:, :, None] & in_width[:, None, :])


def _pixels(first: Tensor, last: Tensor, steps: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Pixels (R, S) of cells along a side of boxes, and which of them are in the image."""
    places = (first[:, None] + steps * (last - first)[:, None]).floor().long()
    return places.clamp(0, limit - 1), (places >= 0) & (places < limit)


def crop_prediction(
    probabilities: Tensor, box: tuple[float, float, float, float], size: tuple[int, int]
) -> PartCrop:
    """Most probable labels of the pixels of an image whose centers lie in a box.

    Args:
        probabilities: (C, S, S) of the box's cells, interpolated between their centers.
        box: corners x0, y0, x1, y1 in pixels of the image.
        size: (h, w) of the image.
    """
    height, width = size
    x0, y0, x1, y1 = box
    left, right = _inside(x0, x1, width)
    top, bottom = _inside(y0, y1, height)
    if left >= right or top >= bottom:
        return PartCrop(left, top, np.zeros((0, 0), np.uint8))
    columns = _places(left, right, x0, x1, probabilities)
    rows = _places(top, bottom, y0, y1, probabilities)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1)
    sampled = F.grid_sample(
        probabilities[None], grid[None], padding_mode='border', align_corners=False
    )
    labels = sampled[0].argmax(0).to(torch.uint8).cpu().numpy()
    return PartCrop(left, top, labels)


def _inside(first: float, last: float, limit: int) -> tuple[int, int]:
    """First pixel whose center lies between two borders, and the one after the last."""
    begin, end = (min(max(math.ceil(border - 0.5), 0), limit) for border in (first, last))
    return begin, end


def _places(begin: int, end: int, first: float, last: float, like: Tensor) -> Tensor:
    """Where pixels' centers lie between two borders, which are -1 and 1."""
    pixels = torch.arange(begin, end, device=like.device, dtype=like.dtype)
    return (pixels + 0.5 - first) / (last - first) * 2 - 1


def trim(labels: np.ndarray) -> PartCrop:
    """The smallest crop of a label map (h, w) with all of its parts."""
    rows = np.flatnonzero(labels.any(axis=1))
    columns = np.flatnonzero(labels.any(axis=0))
    if not rows.size:
        return PartCrop(0, 0, np.zeros((0, 0), np.uint8))
    top, left = int(rows[0]), int(columns[0])
    return PartCrop(left, top, labels[top : rows[-1] + 1, left : columns[-1] + 1])
