"""Ways to make a drawn image look like a work of art."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Style:
    """One category of HumanArt.

    Attributes:
        group: folder of the group of categories.
        name: folder of the category.
        category: its number, with which ids begin.
        apply: changes an image (h, w, 3) uint8 RGB into another of the same size.
    """

    group: str
    name: str
    category: int
    apply: Callable[[np.ndarray], np.ndarray]


def _plain(image: np.ndarray) -> np.ndarray:
    return image


def _cartoon(image: np.ndarray) -> np.ndarray:
    """Flat colors with black outlines."""
    smooth = image
    for _ in range(3):
        smooth = cv2.bilateralFilter(smooth, 7, 30, 5)
    flat = (smooth // 32) * 32 + 16
    flat[_edges(image) > 70] = 20
    return flat


def _oil(image: np.ndarray) -> np.ndarray:
    """Strokes: every color spreads over its neighborhood, and is stronger."""
    strokes = cv2.medianBlur(cv2.medianBlur(image, 5), 5)
    hsv = cv2.cvtColor(strokes, cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.minimum(hsv[..., 1].astype(np.int32) * 3 // 2, 255).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _sketch(image: np.ndarray) -> np.ndarray:
    """Pencil lines on paper."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    blurred = np.maximum(cv2.GaussianBlur(gray, (0, 0), 3).astype(np.float32), 1)
    lines = np.clip(gray.astype(np.float32) / blurred, 0, 1) ** 3 * 235 + 10
    return cv2.cvtColor(lines.astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _stone(image: np.ndarray) -> np.ndarray:
    """One material, lit from the side."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    relief = cv2.Sobel(gray, cv2.CV_32F, 1, 0) * 0.5
    tone = np.clip(0.4 * gray.astype(np.float32) + 90 + relief, 0, 255)[..., None]
    return np.clip(tone * np.array((1.0, 0.97, 0.9), np.float32), 0, 255).astype(np.uint8)


def _ink(image: np.ndarray) -> np.ndarray:
    """Dark washes on yellowish paper."""
    gray = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 5).astype(np.float32)
    wash = np.clip((gray - 60) * 1.6, 0, 255)[..., None] / 255
    paper, dark = np.array((236, 226, 200)), np.array((30, 28, 34))
    return (dark + (paper - dark) * wash).astype(np.uint8)


def _edges(image: np.ndarray) -> np.ndarray:
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    right, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    return np.hypot(right, down)


STYLES = (
    Style('2D_virtual_human', 'cartoon', 1, _cartoon),
    Style('2D_virtual_human', 'ink_painting', 3, _ink),
    Style('2D_virtual_human', 'oil_painting', 6, _oil),
    Style('2D_virtual_human', 'sketch', 8, _sketch),
    Style('3D_virtual_human', 'sculpture', 14, _stone),
    Style('real_human', 'dance', 17, _plain),
)
