"""Crops around one person, as sets of attributes, captions and body parts hold them."""

from __future__ import annotations

from dataclasses import replace

from ..rng import DETECTION, generator
from ..scene.plan import plan_portrait
from ..scene.render import Annotated, render_scene


def draw_portrait(
    seed: int,
    identity: int,
    shot: int,
    height: tuple[int, int],
    wide: tuple[float, float] = (0.36, 0.48),
    lively: bool = False,
    alone: bool = False,
) -> Annotated:
    """Draw a crop whose size varies as those of a detector.

    Args:
        seed: seed of the set.
        identity: who it is about.
        shot: number of the image of that identity.
        height: least and greatest height in pixels.
        wide: least and greatest width, in heights.
        lively: all kinds of poses, not only people walking and standing.
        alone: without passers-by.
    """
    rng = generator(seed, DETECTION, identity, shot)
    tall = int(rng.integers(height[0], height[1] + 1))
    size = (tall, round(tall * float(rng.uniform(*wide))))
    scene = plan_portrait(seed, identity, shot, size, lively)
    if alone:
        scene = replace(scene, subjects=(scene.subjects[scene.main],), main=0)
    return render_scene(scene)


def spread_identities(count: int, shots: int, first: int) -> list[tuple[int, int]]:
    """Return (identity, shot) of so many images, ``shots`` of every identity."""
    return [(first + number // shots, number % shots) for number in range(count)]
