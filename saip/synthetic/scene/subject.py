"""What a scene is made of: subjects that say how they are drawn and where their landmarks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..draw import Part, Placement


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
