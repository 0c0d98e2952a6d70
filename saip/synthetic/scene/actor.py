"""People as subjects of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..draw import Figure, Placement
from .anatomy import make_anatomy
from .character import Character
from .landmarks import landmarks
from .subject import Embodied


@dataclass(frozen=True)
class Actor:
    """A character at one moment and place.

    Attributes:
        figure: person, pose, view and place, as for a single crop.
        group: 0 = somebody of their own; people of one other number stand too far away and too
            close together to be told apart.
    """

    character: Character
    figure: Figure
    group: int = 0

    @property
    def place(self) -> Placement:
        """Where they stand."""
        return self.figure.place

    def embody(self, size: tuple[int, int]) -> Embodied:
        """Say what is drawn in an image of ``size`` (h, w)."""
        anatomy = make_anatomy(self.character, self.figure, size)
        turned = bool(np.cos(self.figure.view.yaw) < -0.2)
        return Embodied(anatomy.parts, tuple(landmarks(anatomy)), turned)
