"""Contact sheets: images of a written set with their annotations drawn on them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from saip.errors import MissingFileError

from .folder import CONTACT_SHEET

Color = tuple[int, int, int]

BLUE, GREEN, YELLOW, PINK = (90, 200, 250), (60, 230, 60), (250, 210, 60), (250, 120, 250)
# Visible, hidden.
SEEN, HIDDEN = GREEN, (240, 60, 50)
# What a row of a sheet may be wide, in pixels.
_WIDTH = 1600
_LINE, _LETTER = 11, 6


@dataclass(frozen=True)
class Card:
    """One image of a contact sheet; everything is in pixels of the image.

    Attributes:
        image: path below the root of the set.
        words: written beside it.
        boxes: (x, y, width, height) and a color.
        outlines: polygons x0, y0, x1, y1 ...
        points: landmarks (K, 3) of one body each.
        bones: pairs of landmarks, counted from 0.
        labels: path below the root of a map of labels, shown beside the image; '' without.
        names: of the labels.
    """

    image: str
    words: Sequence[str] = ()
    boxes: Sequence[tuple[Sequence[float], Color]] = ()
    outlines: Sequence[Sequence[float]] = ()
    points: Sequence[np.ndarray] = ()
    bones: Sequence[tuple[int, int]] = ()
    labels: str = ''
    names: Sequence[str] = ()


def save_sheet(root: Path, cards: Sequence[Card]) -> None:
    """Write the contact sheet of a set: its images, twice as large, in a table."""
    drawn = [_draw(root, card) for card in cards]
    height = max(image.shape[0] for image in drawn) + 4
    width = max(image.shape[1] for image in drawn) + 4
    columns = max(min(_WIDTH // width, len(drawn)), 1)
    rows = -(-len(drawn) // columns)
    table = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for number, image in enumerate(drawn):
        y, x = number // columns * height, number % columns * width
        table[y : y + image.shape[0], x : x + image.shape[1]] = image
    (root / CONTACT_SHEET).write_bytes(encode_png(table))


def encode_png(image: np.ndarray) -> bytes:
    """Encode an (h, w) or an (h, w, 3) RGB uint8 image as PNG.

    Raises:
        RuntimeError: OpenCV could not encode it.
    """
    done, data = cv2.imencode('.png', image if image.ndim == 2 else image[..., ::-1])
    if not done:
        raise RuntimeError(f'cannot encode an image of shape {image.shape} as PNG')
    return data.tobytes()


def _load(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise MissingFileError(f'{path} is no image')
    return np.asarray(image)


def _draw(root: Path, card: Card, factor: int = 2) -> np.ndarray:
    image = np.ascontiguousarray(_load(root / card.image)[..., ::-1])
    large = cv2.resize(image, None, None, factor, factor, cv2.INTER_NEAREST)
    for outline in card.outlines:
        corners = np.round(np.array(outline).reshape(-1, 1, 2) * factor).astype(np.int32)
        cv2.polylines(large, [corners], True, (255, 255, 255))
    for box, color in card.boxes:
        x, y, width, height = (round(value * factor) for value in box)
        cv2.rectangle(large, (x, y), (x + width - 1, y + height - 1), color, 1)
    for points in card.points:
        _paint_points(large, points, card.bones, factor)
    if not card.labels:
        return _beside(large, card.words)
    labels = _load(root / card.labels)
    colors = palette(len(card.names))
    shown = cv2.resize(colors[labels], None, None, factor, factor, cv2.INTER_NEAREST)
    present = [number for number in np.unique(labels) if number]
    words = [*card.words, *(f'...{card.names[number]}' for number in present)]
    both = _beside(np.concatenate([large, shown], axis=1), words)
    for row, number in enumerate(present, len(card.words)):
        y, x = 4 + _LINE * row, 2 * large.shape[1] + 3
        both[y : y + 8, x : x + 8] = colors[number]
    return both


def _paint_points(
    image: np.ndarray, points: np.ndarray, bones: Sequence[tuple[int, int]], factor: int
) -> None:
    places = np.round((points[:, :2] + 0.5) * factor - 0.5).astype(int).tolist()
    for one, two in bones:
        if points[one, 2] and points[two, 2]:
            cv2.line(image, places[one], places[two], YELLOW, 1, cv2.LINE_AA)
    radius = 2 if bones else 1
    for place, visible in zip(places, points[:, 2], strict=True):
        if visible:
            cv2.circle(image, place, radius, SEEN if visible > 1 else HIDDEN, -1)


def points_of(numbers: Sequence[float]) -> np.ndarray:
    """Return x, y, visibility, x, y ... as landmarks (K, 3)."""
    return np.array(numbers).reshape(-1, 3)


def palette(count: int) -> np.ndarray:
    """Return clearly different colors, (count, 3) uint8 RGB; the first is black."""
    hues = (np.arange(count) * 38) % 180
    lightness = 255 - 70 * (np.arange(count) % 3)
    hsv = np.stack([hues, np.full(count, 190), lightness], axis=-1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 0
    return colors


def _beside(image: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """An image with lines of text to its right; long ones are wrapped."""
    lines = [line for text in words for line in textwrap.wrap(text, 38, subsequent_indent=' ')]
    if not lines:
        return image
    width = 6 + _LETTER * max(len(line) for line in lines)
    height = max(image.shape[0], _LINE * len(lines) + 4)
    both = np.full((height, image.shape[1] + width, 3), 255, np.uint8)
    both[: image.shape[0], : image.shape[1]] = image
    for number, line in enumerate(lines):
        place = (image.shape[1] + 3, _LINE * (number + 1))
        cv2.putText(
            both, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA
        )
    return both
