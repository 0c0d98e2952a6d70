"""CrowdHuman: crowded scenes with full, visible and head boxes, one JSON document per line."""

from __future__ import annotations

import hashlib
import json
import math

from ..scene.parts import HEAD
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Annotated, Box, box_of, render_scene
from ..sheet import BLUE, GREEN, PINK, YELLOW, Card
from .base import APART, Job, Splits, draw_splits, native
from .coco_format import crowd_mask, individuals

CROWDING = Crowding((4, 10), (0.25, 0.8), huddle=0.65, things=0.2, far_group=0.3)
# Somebody of whom fewer pixels are seen is not annotated.
LEAST_AREA = 25
SIZES = {'tiny': Splits(8, 6, 0, (192, 288)), 'small': Splits(300, 80, 0, (288, 432))}


@native('crowdhuman', SIZES)
def write_crowdhuman(job: Job[Splits]) -> list[Card]:
    """Write ``Images/*.jpg`` and ``annotation_{train,val}.odgt``."""
    cards = []
    for split, rows in draw_splits(job, _draw, 2 * APART):
        text = ''.join(json.dumps(row) + '\n' for row in rows)
        (job.root / f'annotation_{split}.odgt').write_text(text, encoding='utf-8')
        cards += [_card(row) for row in rows[:6]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> dict:
    number = item[1]
    annotated = render_scene(plan_crowd(job.seed, number, job.spec.size, CROWDING))
    name = f'{number},{hashlib.sha256(f"{job.seed} {number}".encode()).hexdigest()[:16]}'
    job.save(f'Images/{name}.jpg', annotated.image, annotated.quality)
    return {'ID': name, 'gtboxes': gt_boxes(annotated)}


def gt_boxes(annotated: Annotated) -> list[dict]:
    """Return the people of a scene and the crowd that is to be ignored, as CrowdHuman has them."""
    boxes: list[dict] = []
    for number, seen, _, visible in individuals(annotated, LEAST_AREA):
        head, full = _whole(seen.head), _whole(seen.full)
        shown = annotated.shows(number, *HEAD) / max(head[2] * head[3], 1)
        area = (visible[2] - visible[0]) * (visible[3] - visible[1])
        boxes.append({
            'tag': 'person',
            'hbox': head,
            'head_attr': {'ignore': int(shown == 0), 'occ': int(shown < 0.45), 'unsure': 0},
            'fbox': full,
            'vbox': _whole(visible),
            'extra': {'box_id': len(boxes), 'occ': int(area < 0.9 * full[2] * full[3])},
        })  # fmt: skip
    crowd = box_of(crowd_mask(annotated))
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


def _card(row: dict) -> Card:
    """Full boxes blue, visible boxes green, heads yellow, regions to ignore pink."""
    boxes = [(box['fbox'], PINK) for box in row['gtboxes'] if box['tag'] == 'mask']
    for box in row['gtboxes']:
        if box['tag'] == 'person':
            boxes += [(box['fbox'], BLUE), (box['vbox'], GREEN), (box['hbox'], YELLOW)]
    return Card(f'Images/{row["ID"]}.jpg', boxes=boxes)
