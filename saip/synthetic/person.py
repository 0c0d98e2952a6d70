"""Who a person is: build, hair, garments and what they carry.

Nothing here depends on a camera or a pose. Lengths are fractions of the body height, colors
are RGB in 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rng import PERSON, between, chance, choose, generator

Color = tuple[float, float, float]

# Few, mostly muted colors: many people then share them, as in a street, and a color histogram
# alone does not tell them apart.
PALETTE: dict[str, tuple[Color, float]] = {
    'black': ((34, 34, 38), 4.0),
    'charcoal': ((68, 70, 76), 3.0),
    'gray': ((128, 130, 134), 3.0),
    'white': ((222, 222, 218), 3.0),
    'navy': ((38, 48, 92), 3.0),
    'blue': ((62, 102, 176), 2.0),
    'denim': ((86, 112, 150), 2.0),
    'red': ((176, 46, 50), 1.6),
    'wine': ((108, 38, 56), 1.0),
    'green': ((58, 118, 72), 1.2),
    'olive': ((98, 98, 62), 1.2),
    'beige': ((196, 178, 146), 1.6),
    'brown': ((110, 80, 58), 1.4),
    'yellow': ((212, 176, 62), 0.9),
    'pink': ((208, 140, 158), 0.9),
    'teal': ((52, 128, 134), 0.8),
}
LOWER_NAMES = ('black', 'charcoal', 'navy', 'denim', 'gray', 'beige', 'brown', 'olive', 'white')
LOWER_WEIGHTS = (4.0, 2.5, 2.5, 3.0, 1.5, 1.5, 0.8, 0.8, 0.5)
SHOE_NAMES = ('black', 'white', 'brown', 'charcoal', 'red', 'blue')
SHOE_WEIGHTS = (4.0, 2.5, 2.0, 1.5, 0.6, 0.6)

SKINS: tuple[Color, ...] = (
    (240, 206, 180),
    (226, 184, 152),
    (206, 158, 120),
    (168, 118, 84),
    (120, 82, 60),
    (86, 58, 44),
)
HAIRS: tuple[Color, ...] = (
    (28, 24, 24),
    (58, 42, 34),
    (98, 68, 44),
    (176, 138, 84),
    (140, 72, 44),
    (158, 156, 152),
)


@dataclass(frozen=True)
class Build:
    """Body proportions: half-widths relative to the mean, and the height of the hips."""

    shoulders: float
    girth: float
    hips: float
    hip_height: float
    head: float


@dataclass(frozen=True)
class Garment:
    """One piece of clothing.

    Attributes:
        kind: cut, see ``UPPER_KINDS`` and ``LOWER_KINDS``.
        color: main color.
        second: color of the pattern.
        pattern: see ``PATTERNS``.
        count: how many stripes or checks fit along the body part.
        fit: looseness, 1 = normal.
    """

    kind: str
    color: Color
    second: Color
    pattern: str
    count: float
    fit: float


@dataclass(frozen=True)
class Hair:
    """Hair: ``style`` is one of ``HAIR_STYLES``."""

    style: str
    color: Color


@dataclass(frozen=True)
class Bag:
    """What is carried, and on which side (1 = the person's left)."""

    kind: str
    color: Color
    side: int


@dataclass(frozen=True)
class Person:
    """The whole appearance of an identity.

    Attributes:
        inner: the shirt seen through an open jacket or coat.
        hat: color of a cap; None without one.
    """

    build: Build
    skin: Color
    hair: Hair
    upper: Garment
    lower: Garment
    inner: Color
    shoes: Color
    bag: Bag
    hat: Color | None


UPPER_KINDS = ('tshirt', 'shirt', 'hoodie', 'jacket', 'coat', 'vest', 'dress')
UPPER_WEIGHTS = (3.0, 2.5, 1.5, 2.5, 1.2, 0.6, 0.8)
LOWER_KINDS = ('trousers', 'shorts', 'skirt')
LOWER_KIND_WEIGHTS = (6.0, 2.0, 1.2)
PATTERNS = ('plain', 'stripes', 'bars', 'checks', 'logo', 'block')
PATTERN_WEIGHTS = (2.6, 1.7, 0.9, 1.3, 1.8, 1.7)
HAIR_STYLES = ('short', 'bald', 'bob', 'long', 'bun')
HAIR_WEIGHTS = (5.0, 0.6, 1.5, 2.0, 1.0)
BAGS = ('none', 'backpack', 'shoulder', 'handbag')
BAG_WEIGHTS = (3.0, 3.0, 2.0, 1.5)


def sample_person(seed: int, identity: int) -> Person:
    """Draw the appearance of one identity."""
    rng = generator(seed, PERSON, identity)
    build = Build(
        shoulders=between(rng, 0.86, 1.16),
        girth=between(rng, 0.85, 1.3),
        hips=between(rng, 0.88, 1.14),
        hip_height=between(rng, 0.49, 0.535),
        head=between(rng, 0.92, 1.1),
    )
    upper = _sample_upper(rng)
    bag_kind = choose(rng, BAGS, BAG_WEIGHTS)
    return Person(
        build=build,
        skin=_shifted(rng, choose(rng, SKINS, (2, 3, 3, 2, 1.2, 1)), 8),
        hair=Hair(
            choose(rng, HAIR_STYLES, HAIR_WEIGHTS),
            _shifted(rng, choose(rng, HAIRS, (4, 3, 2, 1.2, 0.7, 0.8)), 8),
        ),
        upper=upper,
        lower=_sample_lower(rng),
        inner=_named(
            rng, ('white', 'gray', 'black', 'red', 'blue', 'yellow'), (3, 2, 2, 1, 1, 1)
        ),
        shoes=_named(rng, SHOE_NAMES, SHOE_WEIGHTS),
        bag=Bag(bag_kind, _any_color(rng), 1 if chance(rng, 0.5) else -1),
        hat=_any_color(rng) if chance(rng, 0.16) else None,
    )


def _sample_upper(rng: np.random.Generator) -> Garment:
    color = _any_color(rng)
    return Garment(
        kind=choose(rng, UPPER_KINDS, UPPER_WEIGHTS),
        color=color,
        second=_contrasting(rng, color),
        pattern=choose(rng, PATTERNS, PATTERN_WEIGHTS),
        count=float(rng.integers(4, 9)),
        fit=between(rng, 0.95, 1.2),
    )


def _sample_lower(rng: np.random.Generator) -> Garment:
    color = _named(rng, LOWER_NAMES, LOWER_WEIGHTS)
    return Garment(
        kind=choose(rng, LOWER_KINDS, LOWER_KIND_WEIGHTS),
        color=color,
        second=_contrasting(rng, color),
        pattern=choose(rng, ('plain', 'seam', 'checks', 'bars'), (6, 1.5, 0.8, 0.5)),
        count=float(rng.integers(4, 8)),
        fit=between(rng, 0.85, 1.35),
    )


def _any_color(rng: np.random.Generator) -> Color:
    return _named(rng, tuple(PALETTE), tuple(weight for _, weight in PALETTE.values()))


def _named(
    rng: np.random.Generator, names: tuple[str, ...], weights: tuple[float, ...]
) -> Color:
    return _shifted(rng, PALETTE[choose(rng, names, weights)][0], 10)


def _contrasting(rng: np.random.Generator, color: Color) -> Color:
    """Draw a color that a low-resolution image can tell from ``color``."""
    for _ in range(8):
        other = _any_color(rng)
        if sum(abs(a - b) for a, b in zip(color, other, strict=True)) > 150:
            return other
    return (232, 232, 228) if sum(color) < 380 else (32, 32, 36)


def _shifted(rng: np.random.Generator, color: Color, spread: float) -> Color:
    red, green, blue = (
        min(255.0, max(0.0, value + between(rng, -spread, spread))) for value in color
    )
    return (red, green, blue)
