"""Things that stand among people and hide them: posts, bins, hedges, cars."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..person import Color
from ..rng import between, choose

# Height and width in body heights of somebody standing at the same place.
SHAPES: dict[str, tuple[float, float]] = {
    'post': (1.6, 0.07),
    'bin': (0.5, 0.3),
    'hedge': (0.55, 0.9),
    'car': (0.75, 1.5),
}
WEIGHTS = (3.0, 2.5, 1.5, 0.7)


@dataclass(frozen=True)
class Thing:
    """A thing at a place.

    Attributes:
        kind: one of ``SHAPES``.
        x: its middle, in image widths.
        ground: where it stands, in image heights.
        height: of a person standing there, in image heights.
    """

    kind: str
    x: float
    ground: float
    height: float
    color: Color


def sample_thing(rng: np.random.Generator, x: float, ground: float, height: float) -> Thing:
    """Draw what stands at a place."""
    kind = choose(rng, tuple(SHAPES), WEIGHTS)
    tone = between(rng, 45, 165)
    red, green, blue = (tone * between(rng, 0.75, 1.15) for _ in range(3))
    if kind == 'hedge':
        red, green, blue = 0.55 * tone, 0.85 * tone, 0.45 * tone
    return Thing(kind, x, ground, height, (red, green, blue))


def draw_thing(canvas: np.ndarray, owners: np.ndarray, thing: Thing) -> None:
    """Draw a thing into an image (H, W, 3) uint8; in ``owners`` (H, W) it is nobody's."""
    size, (tall, wide) = canvas.shape, SHAPES[thing.kind]
    body = thing.height * size[0]
    bottom = round(thing.ground * size[0])
    top = round(bottom - tall * body)
    left = round(thing.x * size[1] - wide * body / 2)
    right = left + max(round(wide * body), 2)
    dark = tuple(value * 0.55 for value in thing.color)
    light = tuple(min(value * 1.3 + 12, 255.0) for value in thing.color)
    cv2.rectangle(canvas, (left, top), (right, bottom), thing.color, -1)
    edge = max((right - left) // 6, 1)
    cv2.rectangle(canvas, (right - edge, top), (right, bottom), dark, -1)
    cv2.rectangle(canvas, (left, top), (right, top + max((bottom - top) // 14, 1)), light, -1)
    if thing.kind == 'car':
        glass = (top + bottom) // 2 - (bottom - top) // 10
        cv2.rectangle(canvas, (left + edge, top + edge // 2), (right - edge, glass), dark, -1)
    cv2.rectangle(owners, (left, top), (right, bottom), 0, -1)
