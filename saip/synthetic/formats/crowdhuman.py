"""CrowdHuman: crowded scenes with full, visible and head boxes, one JSON document per line."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saip.datasets.parallel import parallel_map

from ..scene.parts import HEAD
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Box, Rendered, box_of, render_scene
from .base import APART, load_rgb, save_jpeg, write_native
from .coco_format import crowd_mask
from .contact_sheet import enlarged, grid, paint_box

_FIRST = {'train': 2 * APART, 'val': 2 * APART + APART // 2}
CROWDING = Crowding((4, 10), (0.25, 0.8), huddle=0.65, things=0.2, far_group=0.3)
# Somebody of whom fewer pixels are seen is not annotated.
LEAST_AREA = 25


@dataclass(frozen=True)
class Size:
    """Images per split and their size (h, w)."""

    train: int
    val: int
    size: tuple[int, int]


SIZES = {'tiny': Size(8, 6, (192, 288)), 'small': Size(300, 80, (288, 432))}


def write_crowdhuman(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``Images/*.jpg`` and ``annotation_{train,val}.odgt``."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        for split, count in (('train', spec.train), ('val', spec.val)):
            numbers = range(_FIRST[split], _FIRST[split] + count)
            draw = functools.partial(_draw, root=root, seed=seed, size=spec.size)
            rows = parallel_map(draw, numbers, workers, f'{split} images of CrowdHuman drawn')
            text = ''.join(json.dumps(row) + '\n' for row in rows)
            (root / f'annotation_{split}.odgt').write_text(text, encoding='utf-8')
        return _sheet(root)

    return write_native(out, 'crowdhuman', SIZES, size, seed, fill)


def _draw(number: int, root: Path, seed: int, size: tuple[int, int]) -> dict:
    scene = plan_crowd(seed, number, size, CROWDING)
    rendered = render_scene(scene)
    digest = hashlib.sha256(f'{seed} {number}'.encode()).hexdigest()[:16]
    name = f'{number},{digest}'
    save_jpeg(root / 'Images' / f'{name}.jpg', rendered.image, scene.camera.quality)
    return {'ID': name, 'gtboxes': gt_boxes(rendered)}


def gt_boxes(rendered: Rendered) -> list[dict]:
    """Return the people of a scene and the crowd that is to be ignored, as CrowdHuman has them."""
    boxes: list[dict] = []
    for number, seen in enumerate(rendered.seen):
        visible = rendered.visible(number)
        area = int(rendered.mask(number).sum())
        if seen.subject.group or visible is None or area < LEAST_AREA:
            continue
        head = _whole(seen.head)
        full = _whole(seen.full)
        shown = rendered.shows(number, *HEAD) / max(head[2] * head[3], 1)
        occluded = int(_area(visible) < 0.9 * full[2] * full[3])
        boxes.append({
            'tag': 'person',
            'hbox': head,
            'head_attr': {'ignore': int(shown == 0), 'occ': int(shown < 0.45), 'unsure': 0},
            'fbox': full,
            'vbox': _whole(visible),
            'extra': {'box_id': len(boxes), 'occ': occluded},
        })  # fmt: skip
    crowd = box_of(crowd_mask(rendered))
    if crowd is not None:
        box = _whole(crowd)
        region = {'tag': 'mask', 'hbox': box, 'head_attr': {}, 'fbox': box, 'vbox': box}
        boxes.append({**region, 'extra': {'ignore': 1}})
    return boxes


def _whole(box: Box) -> list[int]:
    """Return x, y, width, height in whole pixels, rounded outwards."""
    x0, y0, x1, y1 = box
    left, top = math.floor(x0), math.floor(y0)
    return [left, top, math.ceil(x1) - left, math.ceil(y1) - top]


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _sheet(root: Path) -> np.ndarray:
    """Full boxes blue, visible boxes green, heads yellow, regions to ignore pink."""
    cells = []
    for split in ('train', 'val'):
        text = (root / f'annotation_{split}.odgt').read_text(encoding='utf-8')
        for row in map(json.loads, text.splitlines()[:6]):
            image = enlarged(load_rgb(root / 'Images' / f'{row["ID"]}.jpg'), 2)
            for box in row['gtboxes']:
                if box['tag'] == 'mask':
                    paint_box(image, box['fbox'], (250, 120, 250), 2)
                    continue
                paint_box(image, box['fbox'], (90, 130, 250), 2)
                paint_box(image, box['vbox'], (60, 230, 60), 2)
                paint_box(image, box['hbox'], (250, 210, 60), 2)
            cells.append(image)
    return grid(cells, 3)
