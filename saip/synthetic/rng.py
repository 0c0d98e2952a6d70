"""Random numbers keyed by what they are for, so that every image can be drawn alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

# One stream per thing that is drawn; appending a new one changes no other.
PERSON, CAMERA, SCENERY, SHOT, CHARACTER, SCENE, ANIMAL, DETECTION, CAPTION = range(9)

T = TypeVar('T')


def generator(seed: int, stream: int, *key: int) -> np.random.Generator:
    """Return a generator that depends on nothing but its arguments.

    Args:
        seed: the seed of the whole set.
        stream: what is drawn (one of this module's constants).
        key: non-negative numbers of the thing drawn (identity, camera, shot ...).
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, *key])))


def choose(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float]) -> T:
    """Draw one of ``options`` with the given (not necessarily normalized) weights."""
    place = float(rng.random()) * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        place -= weight
        if place < 0:
            return option
    return options[-1]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return bool(rng.random() < probability)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number uniformly from [low, high)."""
    return low + (high - low) * float(rng.random())
