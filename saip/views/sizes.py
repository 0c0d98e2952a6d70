"""Sizes of views. A size is (height, width) in pixels."""

from __future__ import annotations

from fractions import Fraction

Size = tuple[int, int]


def aspect_range(size: Size, explicit: tuple[float, float] | None) -> tuple[float, float]:
    """Range of a crop's width / height, by the anchor's shape unless given.

    Person boxes are narrower than most encoders' inputs, hence the tabled ranges.
    """
    if explicit is not None:
        return explicit
    ratio = size[1] / size[0]
    table = {Fraction(1): (3 / 4, 4 / 3), Fraction(1, 3): (0.25, 0.4)}
    table |= dict.fromkeys((Fraction(1, 2), Fraction(3, 4)), (0.4, 0.6))
    return table.get(Fraction(size[1], size[0]), (0.8 * ratio, 1.2 * ratio))


def fraction(scale: float) -> Fraction:
    """The number that was written: 0.3 is 3/10 and not its binary neighbor."""
    return Fraction(repr(float(scale)))


def whole_patches(size: Size, scale: float, patch: int) -> Size:
    """``size`` times ``scale``, each side rounded (halves up) to whole patches, at least one."""
    height, width = (
        max(1, int(side * fraction(scale) / patch + Fraction(1, 2))) * patch for side in size
    )
    return height, width


def reduced(size: Size, scale: Fraction) -> Size:
    """``size`` times ``scale``, each side rounded (halves up) to whole pixels, at least one."""
    height, width = (max(1, int(side * scale + Fraction(1, 2))) for side in size)
    return height, width


def size_text(size: Size) -> str:
    """Write a size for a message."""
    return f'{size[0]}x{size[1]}'
