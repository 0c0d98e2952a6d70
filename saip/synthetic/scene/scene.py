"""A scene: everything that is drawn in one image, subjects and things that hide them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ..camera import Camera, Light
from ..draw import Part, Placement
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


def outline(thing: Thing, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return first and last column and row of a thing in an image of ``size`` (h, w).

    Returns:
        left, top, right, bottom, all of them inside the thing.
    """
    tall, wide = SHAPES[thing.kind]
    body = thing.height * size[0]
    bottom = round(thing.ground * size[0])
    left = round(thing.x * size[1] - wide * body / 2)
    return left, round(bottom - tall * body), left + max(round(wide * body), 2), bottom


def draw_thing(canvas: np.ndarray, owners: np.ndarray, thing: Thing) -> None:
    """Draw a thing into an image (H, W, 3) uint8; in ``owners`` (H, W) it is nobody's."""
    left, top, right, bottom = outline(thing, canvas.shape[:2])
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


@dataclass(frozen=True)
class Landmark:
    """A point on a body.

    Attributes:
        point: (2,) in the image.
        parts: codes of parts that show it.
        turned: it lies on the side of the body that is turned away.
    """

    point: np.ndarray
    parts: frozenset[int]
    turned: bool = False


@dataclass(frozen=True)
class Embodied:
    """A subject in an image of a known size.

    Attributes:
        parts: far to near.
        landmarks: in the order of the data sets.
        turned_away: the face cannot be seen from here.
    """

    parts: tuple[Part, ...]
    landmarks: tuple[Landmark, ...]
    turned_away: bool


class Subject(Protocol):
    """A person or an animal at one moment and place."""

    @property
    def place(self) -> Placement:
        """Where it stands."""

    @property
    def group(self) -> int:
        """0 = an individual; those of one other number cannot be told apart."""

    def embody(self, size: tuple[int, int]) -> Embodied:
        """Say what is drawn in an image of ``size`` (h, w)."""


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn in one image.

    Attributes:
        size: (h, w) of the image.
        subjects: people or animals, far to near.
        things: what stands among them.
        place: number of the place, see ``scenery.panorama``.
        window: part of the place behind them, see ``scenery.backdrop``.
        key: seed and further numbers that no other image of the set has.
        main: number of the subject that the image is about, for crops.
    """

    size: tuple[int, int]
    subjects: tuple[Subject, ...]
    things: tuple[Thing, ...]
    camera: Camera
    light: Light
    place: int
    window: tuple[float, float, float]
    key: tuple[int, ...]
    main: int = 0

    def order(self) -> list[int | Thing]:
        """Return numbers of subjects, and things, from far to near."""
        found: list[tuple[float, int | Thing]] = [
            (subject.place.ground, number) for number, subject in enumerate(self.subjects)
        ]
        found += [(thing.ground, thing) for thing in self.things]
        return [item for _, item in sorted(found, key=lambda entry: entry[0])]


def sample_light(rng: np.random.Generator) -> Light:
    """Draw the light of a moment."""
    shadows = (0.0, between(rng, 0.3, 0.7), -between(rng, 0.3, 0.7))
    return Light(
        level=between(rng, 0.9, 1.1),
        side=between(rng, -1.0, 1.0),
        slope=(between(rng, -0.2, 0.2), between(rng, -0.2, 0.2)),
        shadow=choose(rng, shadows, (8, 1, 1)),
        depth=between(rng, 0.6, 0.85),
    )
