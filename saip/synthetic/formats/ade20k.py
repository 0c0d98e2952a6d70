"""ADE20K: scenes with a map of 150 labels; 0 is what belongs to none of them."""

from __future__ import annotations

import numpy as np

from ..rendered_crop import OVERSAMPLING
from ..scene.parts import CODES, codes
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Annotated, render_scene
from ..scene.scene import Scene, Thing, outline
from ..scenery import FAMILIES, horizon_in
from ..sheet import Card
from .base import APART, Job, Splits, draw_splits, native

CROWDING = Crowding(people=(1, 4), heights=(0.35, 0.95), things=0.6)
SIZES = {'tiny': Splits(8, 6, 0, (128, 160)), 'small': Splits(300, 80, 0, (256, 352))}
FOLDERS = {'train': 'training', 'val': 'validation'}
LABELS = {
    1: 'wall',
    2: 'building',
    4: 'floor',
    5: 'tree',
    7: 'road',
    10: 'grass',
    12: 'sidewalk',
    13: 'person',
    18: 'plant',
    21: 'car',
    94: 'pole',
    116: 'bag',
    139: 'ashcan',
}
"""Those of ADE20K's 150 classes that are drawn, by their labels."""

PLACES = {'street': (2, 7), 'park': (5, 10), 'plaza': (2, 12), 'hall': (1, 4)}
"""Labels of what stands around and of the ground, by the family of a place."""

THINGS = {'post': 94, 'bin': 139, 'hedge': 18, 'car': 21}
_PERSON, _BAG = 13, 116
# Half of the height, in image heights, of a strip between ground and walls that is no class.
_STRIP = 0.02
_FIRST = 6 * APART + 1
_FILES = APART // 4
_NAMES = [LABELS.get(label, '') for label in range(151)]


@native('ade20k', SIZES)
def write_ade20k(job: Job[Splits]) -> list[Card]:
    """Write ``images/{training,validation}`` and ``annotations/{training,validation}``."""
    cards = []
    for split, stems in draw_splits(job, _draw, _FIRST):
        folder = FOLDERS[split]
        cards += [
            Card(
                f'images/{folder}/{stem}.jpg',
                labels=f'annotations/{folder}/{stem}.png',
                names=_NAMES,
            )
            for stem in stems[:8]
        ]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> str:
    split, number = item
    scene = plan_crowd(job.seed, number, job.spec.size, CROWDING)
    annotated = render_scene(scene)
    stem = f'ADE_{split}_{number % _FILES:08d}'
    job.save(f'images/{FOLDERS[split]}/{stem}.jpg', annotated.image, annotated.quality)
    job.save(f'annotations/{FOLDERS[split]}/{stem}.png', label_map(scene, annotated))
    return stem


def label_map(scene: Scene, annotated: Annotated) -> np.ndarray:
    """Return the label of every pixel, (h, w) uint8; what is held belongs to no class."""
    height, width = scene.size
    around, ground = PLACES[FAMILIES[scene.place % len(FAMILIES)]]
    rows = (np.arange(height) + 0.5) / height - horizon_in(
        scene.key[0], scene.place, scene.window
    )
    column = np.where(np.abs(rows) < _STRIP, 0, np.where(rows < 0, around, ground))
    labels = np.repeat(column[:, None], width, axis=1)
    large = (height * OVERSAMPLING, width * OVERSAMPLING)
    for thing in scene.order():
        if isinstance(thing, Thing):
            left, top, right, bottom = (
                max(side, 0) // OVERSAMPLING for side in outline(thing, large)
            )
            labels[top : bottom + 1, left : right + 1] = THINGS[thing.kind]
    # What somebody hides is hidden by the owners of the pixels; a thing has none.
    owners, parts = annotated.owners, annotated.owners % CODES
    labels = np.where(owners > 0, _PERSON, labels)
    labels = np.where(np.isin(parts, sorted(codes('bag'))), _BAG, labels)
    labels = np.where(np.isin(parts, sorted(codes('held'))), 0, labels)
    return labels.astype(np.uint8)
