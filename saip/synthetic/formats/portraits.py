"""Crops around one person, as sets of attributes and of body parts hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rng import DETECTION, generator
from ..scene.actor import Actor
from ..scene.plan import plan_portrait
from ..scene.render import Rendered, render_scene


@dataclass(frozen=True)
class Portrait:
    """A drawn crop.

    Attributes:
        number: of the person it is about among ``rendered.seen``.
        quality: JPEG quality.
    """

    rendered: Rendered
    number: int
    quality: int

    @property
    def actor(self) -> Actor:
        """Whom it is about."""
        subject = self.rendered.seen[self.number].subject
        assert isinstance(subject, Actor)
        return subject


def draw_portrait(
    seed: int, identity: int, shot: int, height: tuple[int, int], lively: bool = False
) -> Portrait:
    """Draw a crop whose size varies as those of a detector.

    Args:
        seed: seed of the set.
        identity: who it is about.
        shot: number of the image of that identity.
        height: least and greatest height in pixels.
        lively: all kinds of poses, in wider crops.
    """
    rng = generator(seed, DETECTION, identity, shot)
    tall = int(rng.integers(height[0], height[1] + 1))
    low, high = (0.5, 0.75) if lively else (0.36, 0.48)
    wide = round(tall * float(rng.uniform(low, high)))
    scene, number = plan_portrait(seed, identity, shot, (tall, wide), lively)
    return Portrait(render_scene(scene), number, scene.camera.quality)


def spread_identities(count: int, shots: int, first: int) -> list[tuple[int, int]]:
    """Return (identity, shot) of so many images, ``shots`` of every identity."""
    return [(first + number // shots, number % shots) for number in range(count)]


def shuffled(count: int, seed: int, *key: int) -> np.ndarray:
    """Return a fixed order of so many things, (count,)."""
    return generator(seed, DETECTION, *key).permutation(count)
