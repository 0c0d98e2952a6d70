"""Synthetic images of which every pixel's owner is known."""

from __future__ import annotations

import numpy as np
from PIL import Image

from saip.synthetic.scene.plan import Crowding, plan_crowd, plan_portrait
from saip.synthetic.scene.render import Annotated, render_scene
from saip.visualization.attention_comparison import Subject

SEED = 2026
FIRST = 9_000_000
"""Number of the first identity and scene, far from those of any synthetic data set."""

CROWDING = Crowding(people=(4, 7), heights=(0.4, 0.85), huddle=0.5)


def draw_persons(count: int, size: tuple[int, int]) -> list[Subject]:
    """Draw crops of ``count`` persons, (h, w) each, with the mask of whom the crop is about."""
    subjects = []
    for identity in range(FIRST, FIRST + count):
        annotated = render_scene(plan_portrait(SEED, identity, 0, size))
        subjects.append(_subject(annotated, annotated.mask(annotated.main)))
    return subjects


def draw_crowds(count: int, size: tuple[int, int]) -> list[Subject]:
    """Draw ``count`` scenes of several people, (h, w) each, with the mask of all of them."""
    subjects = []
    for number in range(FIRST, FIRST + count):
        annotated = render_scene(plan_crowd(SEED, number, size, CROWDING))
        masks = [annotated.mask(i) for i in range(len(annotated.seen))]
        subjects.append(_subject(annotated, np.any(masks, axis=0)))
    return subjects


def _subject(annotated: Annotated, mask: np.ndarray) -> Subject:
    return Subject(Image.fromarray(annotated.image), mask)
