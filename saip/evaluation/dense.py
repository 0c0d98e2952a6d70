"""Measures of dense predictions: overlap of parts, and places of keypoints."""

from __future__ import annotations

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


def confusion_matrix(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Count pixels, (C, C): rows by their true class, columns by the predicted one."""
    pairs = truth.long().flatten() * classes + predicted.long().flatten()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def mean_iou(confusion: Tensor) -> float:
    """Mean intersection over union in percent, of the classes that occur in the annotations.

    Args:
        confusion: (C, C) of :func:`confusion_matrix`.

    Raises:
        InputError: no pixel was counted.
    """
    counts = confusion.double()
    common, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    present = truth > 0
    if not present.any():
        raise InputError('no pixel is annotated')
    return 100 * float((common / (truth + predicted - common))[present].mean())


def pck(
    predicted: Tensor,
    points: Tensor,
    labeled: Tensor,
    aspect: Tensor,
    threshold: float = PCK_THRESHOLD,
) -> float:
    """Percentage of keypoints that are found within a share of the height of their person's box.

    The height stands in all annotations, unlike a torso or a head, whose ends may be hidden.

    Args:
        predicted: (N, K, 2) x and y, in widths and heights of the boxes.
        points: (N, K, 2) the annotated ones.
        labeled: (N, K) which are annotated; each counts as one.
        aspect: (N,) width of the boxes in heights.
        threshold: in heights; a distance equal to it counts as found.

    Raises:
        InputError: none is annotated.
    """
    if not labeled.any():
        raise InputError('no keypoint is annotated')
    away = predicted.double() - points.double()
    distance = torch.hypot(away[..., 0] * aspect[:, None].double(), away[..., 1])
    return 100 * float((distance <= threshold)[labeled].double().mean())
