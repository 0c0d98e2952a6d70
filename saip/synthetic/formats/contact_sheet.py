"""Contact sheets: images read back from a written set with its annotations drawn on them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Color = tuple[int, int, int]

# Visible, hidden.
SEEN, HIDDEN = (60, 230, 60), (240, 60, 50)
BODY_BONES = (
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
)


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Return a larger copy of an image to draw on."""
    return cv2.resize(image, None, None, factor, factor, cv2.INTER_NEAREST)


def paint_box(image: np.ndarray, box: Sequence[float], color: Color, factor: int = 1) -> None:
    """Draw a box (x, y, width, height)."""
    x, y, width, height = (round(value * factor) for value in box)
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), color, 1)


def paint_points(
    image: np.ndarray,
    points: np.ndarray,
    bones: Sequence[tuple[int, int]] = (),
    factor: int = 1,
    radius: int = 2,
) -> None:
    """Draw landmarks (K, 3); ``bones`` count from 0."""
    places = [
        (round((x + 0.5) * factor - 0.5), round((y + 0.5) * factor - 0.5)) for x, y, _ in points
    ]
    for one, two in bones:
        if points[one, 2] and points[two, 2]:
            cv2.line(image, places[one], places[two], (250, 210, 60), 1, cv2.LINE_AA)
    for place, (_, _, visible) in zip(places, points, strict=True):
        if visible:
            cv2.circle(image, place, radius, SEEN if visible > 1 else HIDDEN, -1)


def palette(count: int) -> np.ndarray:
    """Return clearly different colors, (count, 3) uint8 RGB; the first is black."""
    hues = (np.arange(count) * 38) % 180
    lightness = 255 - 70 * (np.arange(count) % 3)
    hsv = np.stack([hues, np.full(count, 190), lightness], axis=-1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 0
    return colors


def caption(image: np.ndarray, lines: Sequence[str], width: int) -> np.ndarray:
    """Return an image with lines of text to its right, on ``width`` pixels."""
    text = np.full((max(image.shape[0], 11 * len(lines) + 4), width, 3), 255, np.uint8)
    for number, line in enumerate(lines):
        place = (3, 11 + 11 * number)
        cv2.putText(
            text, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA
        )
    both = np.full((text.shape[0], image.shape[1] + width, 3), 255, np.uint8)
    both[: image.shape[0], : image.shape[1]] = image
    both[:, image.shape[1] :] = text
    return both


def grid(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Put images of any size into a table, (H, W, 3) uint8."""
    height = max(image.shape[0] for image in images) + 4
    width = max(image.shape[1] for image in images) + 4
    rows = -(-len(images) // columns)
    table = np.full((rows * height, min(columns, len(images)) * width, 3), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = number // columns * height, number % columns * width
        table[y : y + image.shape[0], x : x + image.shape[1]] = image
    return table
