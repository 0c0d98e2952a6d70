"""Random resized crops: geometry in the original image's pixels."""

from __future__ import annotations

import numpy as np

from saip.views.random import integers, within

ATTEMPTS = 10
NUMBERS = 2 * ATTEMPTS + 2


def draw_boxes(
    numbers: np.ndarray,
    sizes: np.ndarray,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> np.ndarray:
    """Draw crop boxes by the rule of torchvision's RandomResizedCrop.

    Ten attempts with a uniform share of the area and a log-uniform aspect; the first box that
    fits is placed uniformly. If none fits: a central box, its aspect clamped to ``aspect``.

    Args:
        numbers: (B, NUMBERS) uniform.
        sizes: (B, 2) height and width of the images.
        area: share of the image's area.
        aspect: width / height of the box.

    Returns:
        (B, 4) int64 top, left, height, width.
    """
    height, width = sizes[:, :1], sizes[:, 1:]
    target = within(numbers[:, :ATTEMPTS], *area) * (height * width)
    logs = within(numbers[:, ATTEMPTS : 2 * ATTEMPTS], *np.log(aspect))
    ratio = np.exp(logs)
    box_w = np.rint(np.sqrt(target * ratio)).astype(np.int64)
    box_h = np.rint(np.sqrt(target / ratio)).astype(np.int64)
    fits = (box_w > 0) & (box_w <= width) & (box_h > 0) & (box_h <= height)
    first = fits.argmax(axis=1)[:, None]
    drawn_h = np.take_along_axis(box_h, first, 1)
    drawn_w = np.take_along_axis(box_w, first, 1)
    central_h, central_w = _central(height, width, aspect)
    found = fits.any(axis=1)[:, None]
    box_h = np.where(found, drawn_h, central_h)
    box_w = np.where(found, drawn_w, central_w)
    spare_h, spare_w = height - box_h, width - box_w
    top = np.where(found, integers(numbers[:, -2:-1], spare_h + 1), spare_h // 2)
    left = np.where(found, integers(numbers[:, -1:], spare_w + 1), spare_w // 2)
    return np.concatenate([top, left, box_h, box_w], axis=1)


def _central(
    height: np.ndarray, width: np.ndarray, aspect: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    narrow, wide = width / height < aspect[0], width / height > aspect[1]
    box_h = np.where(narrow, np.rint(width / aspect[0]), height)
    box_w = np.where(wide, np.rint(height * aspect[1]), width)
    # An image one pixel high or wide must not yield an empty box.
    return np.maximum(box_h, 1).astype(np.int64), np.maximum(box_w, 1).astype(np.int64)
