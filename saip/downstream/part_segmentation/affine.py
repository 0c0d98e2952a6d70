"""From an image of any size to a crop of one size and back.

A matrix is (2, 3) float64 and maps the center (x, y) of a pixel of the image to a place in the
crop, in pixels; the center of the image goes to the center of the crop.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

Size = tuple[int, int]
"""(height, width) in pixels."""


def fit(image: Size, crop: Size, side: float = 1.0, degrees: float = 0.0) -> np.ndarray:
    """Return the matrix that fits a whole image into a crop, its proportions kept.

    Args:
        image: size of the image.
        crop: size of the crop.
        side: the box that is cropped, in sides of the smallest box around the image that has the
            crop's proportions; above 1 the image becomes smaller.
        degrees: rotation of the image in the crop, clockwise as it is seen.
    """
    scale = min(crop[0] / image[0], crop[1] / image[1]) / side
    cosine = scale * math.cos(math.radians(degrees))
    sine = scale * math.sin(math.radians(degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    source = np.array([image[1] - 1, image[0] - 1]) / 2
    target = np.array([crop[1] - 1, crop[0] - 1]) / 2
    return np.column_stack([turn, target - turn @ source])


def warp_image(image: np.ndarray, matrix: np.ndarray, crop: Size) -> np.ndarray:
    """(h, w, 3) -> (H, W, 3), linear; black outside the image."""
    return cv2.warpAffine(image, matrix, crop[::-1], flags=cv2.INTER_LINEAR, borderValue=0)


def warp_labels(labels: np.ndarray, matrix: np.ndarray, crop: Size, outside: int) -> np.ndarray:
    """(h, w) -> (H, W), nearest; ``outside`` stands outside the image."""
    flags = cv2.INTER_NEAREST
    return cv2.warpAffine(labels, matrix, crop[::-1], flags=flags, borderValue=outside)


def restore_labels(labels: Tensor, matrix: np.ndarray, image: Size) -> Tensor:
    """(H, W) labels of a crop -> (h, w) labels of its image: each pixel its nearest in the crop.

    Pixels that lie outside the crop take the label of its border.
    """
    height, width = labels.shape
    place = torch.from_numpy(np.asarray(matrix, np.float64)).to(labels.device)
    x = torch.arange(image[1], device=labels.device, dtype=torch.float64)
    y = torch.arange(image[0], device=labels.device, dtype=torch.float64)[:, None]
    column = place[0, 0] * x + place[0, 1] * y + place[0, 2]
    row = place[1, 0] * x + place[1, 1] * y + place[1, 2]
    return labels[
        row.round().long().clamp(0, height - 1), column.round().long().clamp(0, width - 1)
    ]
