"""Kinds of animals: their shape and coat."""

from __future__ import annotations

from dataclasses import dataclass

from ..person import Color


@dataclass(frozen=True)
class Species:
    """Shape and coat of a kind of animal; lengths in shoulder heights.

    Attributes:
        category: id in AP-10K.
        length: of the trunk.
        depth: half-width of the trunk.
        leg: height of the elbows' upper end.
        neck: its length.
        rise: how steeply the neck rises, radians.
        head: length of the head.
        ear: length of the ears.
        tail: its length.
        limb: half-width of the legs.
        coats: colors of the coat.
        pattern: ``plain``, ``stripes``, ``patches`` or ``spots``.
        second: color of the pattern.
    """

    name: str
    family: str
    category: int
    length: float
    depth: float
    leg: float
    neck: float
    rise: float
    head: float
    ear: float
    tail: float
    limb: float
    coats: tuple[Color, ...]
    pattern: str = 'plain'
    second: Color = (34, 30, 28)


_BROWNS: tuple[Color, ...] = ((118, 82, 54), (74, 52, 40), (160, 120, 80), (46, 42, 42))
SPECIES = (
    Species('cow', 'Bovidae', 5, 1.25, 0.27, 0.6, 0.35, 0.35, 0.36, 0.14, 0.6, 0.07,
            ((214, 208, 200), (132, 84, 56)), 'patches'),
    Species('sheep', 'Bovidae', 6, 1.0, 0.29, 0.5, 0.25, 0.6, 0.28, 0.12, 0.15, 0.05,
            ((216, 208, 190), (186, 176, 160))),
    Species('dog', 'Canidae', 8, 1.0, 0.19, 0.58, 0.3, 0.8, 0.34, 0.16, 0.5, 0.055,
            (*_BROWNS, (206, 190, 160))),
    Species('deer', 'Cervidae', 17, 1.05, 0.19, 0.66, 0.48, 1.0, 0.28, 0.17, 0.14, 0.042,
            ((156, 108, 68), (132, 92, 62)), 'spots', (206, 176, 140)),
    Species('horse', 'Equidae', 21, 1.15, 0.22, 0.64, 0.5, 0.85, 0.4, 0.12, 0.65, 0.055,
            _BROWNS),
    Species('zebra', 'Equidae', 22, 1.1, 0.23, 0.62, 0.42, 0.8, 0.38, 0.13, 0.45, 0.055,
            ((222, 220, 214),), 'stripes'),
    Species('cat', 'Felidae', 24, 1.25, 0.2, 0.56, 0.16, 0.5, 0.28, 0.14, 0.8, 0.06,
            ((190, 130, 70), (90, 88, 88), (214, 206, 196)), 'stripes', (70, 58, 50)),
    Species('leopard', 'Felidae', 28, 1.35, 0.2, 0.58, 0.2, 0.35, 0.28, 0.09, 0.85, 0.06,
            ((206, 166, 98),), 'spots', (58, 44, 34)),
)  # fmt: skip
