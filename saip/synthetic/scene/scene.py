"""A scene: everything that is drawn in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import Camera, Light
from ..rng import between, choose
from .subject import Subject
from .things import Thing


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
