"""Measures of dense predictions: overlap of parts, and places of keypoints."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.structures import Grid

PCK_THRESHOLD = 0.1
"""Of the height of a person's box."""


def enlarge_scores(scores: Tensor, grid: Grid, size: tuple[int, int]) -> Tensor:
    """Classes of pixels from scores of patches, which are enlarged bilinearly.

    Args:
        scores: (N, L, C).
        grid: (h, w) patches.
        size: (H, W) of the images.

    Returns:
        (N, H, W) class of each pixel.
    """
    planes = scores.transpose(1, 2).unflatten(2, grid)
    return F.interpolate(planes, size, mode='bilinear', align_corners=False).argmax(dim=1)


def count_pixels(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count the pixels of each image, (N, 3, C): right, annotated and predicted ones by class.

    Args:
        predicted: (N, H, W) classes.
        truth: (N, H, W) the annotated ones.
        classes: their number C.
    """
    images = torch.arange(len(truth), device=truth.device)[:, None]

    def count(kind: Tensor) -> Tensor:
        places = kind.long().flatten(1) + (classes + 1) * images
        bins = torch.bincount(places.flatten(), minlength=len(truth) * (classes + 1))
        return bins.view(len(truth), classes + 1)[:, :classes]

    right = torch.where(predicted == truth, truth, classes)
    return torch.stack([count(right), count(truth), count(predicted)], dim=1)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Mean intersection over union, 0 to 1, of the classes that occur in the annotations.

    Args:
        counts: (..., 3, C) sums of :func:`count_pixels`.

    Returns:
        (...); not a number where no pixel is annotated.
    """
    right, truth, predicted = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    present = truth > 0
    overlap = right / np.where(present, truth + predicted - right, 1)
    with np.errstate(invalid='ignore'):
        return np.sum(overlap * present, axis=-1) / np.sum(present, axis=-1)


def count_keypoints(
    predicted: Tensor,
    points: Tensor,
    labeled: Tensor,
    aspect: Tensor,
    threshold: float = PCK_THRESHOLD,
) -> Tensor:
    """Count the keypoints of each image: annotated ones, and those of them that are found.

    Found is what lies within a share of the height of its person's box. The height stands in all
    annotations, unlike a torso or a head, whose ends may be hidden.

    Args:
        predicted: (N, K, 2) x and y, in widths and heights of the boxes.
        points: (N, K, 2) the annotated ones.
        labeled: (N, K) which are annotated; each counts as one.
        aspect: (N,) width of the boxes in heights.
        threshold: in heights; a distance equal to it counts as found.

    Returns:
        (N, 2).

    Raises:
        InputError: none is annotated.
    """
    if not labeled.any():
        raise InputError('no keypoint is annotated')
    away = predicted.double() - points.double()
    distance = torch.hypot(away[..., 0] * aspect[:, None].double(), away[..., 1])
    return torch.stack([labeled.sum(1), ((distance <= threshold) & labeled).sum(1)], dim=1)
