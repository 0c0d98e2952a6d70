"""HumanArt: people in artificial and unusual scenes, with 17 and 21 landmarks."""

from __future__ import annotations

import numpy as np

from ..scene.landmarks import BODY, BODY_NAMES, FEET, LEFT_HAND, RIGHT_HAND
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Box, Seen, render_scene
from ..sheet import BLUE, Card, points_of
from .base import APART, Job, Splits, draw_splits, native
from .coco_format import (
    BONES,
    LEAST_AREA,
    SKELETON,
    detections,
    individuals,
    numbered,
    person_category,
    xywh,
)
from .styles import STYLES

CROWDING = Crowding(people=(1, 3), heights=(0.45, 0.95), things=0.1)
DETECTED = 'person_detection_results/HumanArt_validation_detections_AP_H_56_person.json'
NAMES_21 = (*BODY_NAMES, 'left_finger', 'right_finger', 'left_toe', 'right_toe')
_MORE_BONES = ((20, 16), (21, 17), (10, 18), (11, 19))
# Of a hand the tip of the middle finger, of the feet the big toes.
_FINGER, _TOES = 12, (0, 3)
# Ids of images begin with the number of their category.
_PER_CATEGORY = 1_000_000_000_000
SIZES = {'tiny': Splits(10, 10, 0, (192, 224)), 'small': Splits(300, 100, 0, (288, 336))}
_NAMES = {'train': 'training', 'val': 'validation'}


@native('humanart', SIZES)
def write_humanart(job: Job[Splits]) -> list[Card]:
    """Write ``images``, ``annotations`` and ``person_detection_results``.

    The names of images in the annotations begin with ``HumanArt/images``, so ``out`` has to
    be called ``HumanArt`` and a loader's root is the folder above it.
    """
    cards = []
    info = {'description': 'Synthetic persons, HumanArt', 'year': 2023}
    for split, found in draw_splits(job, _draw, 3 * APART):
        images, rows = numbered(found)
        for row in rows:
            row['id'] += row['image_id'] // _PER_CATEGORY * _PER_CATEGORY
        document = {
            'info': {**info, 'date_created': '2023/01/01'},
            'images': images,
            'annotations': rows,
            'categories': [person_category(NAMES_21, (*_MORE_BONES, *SKELETON))],
        }
        job.save_json(f'annotations/{_NAMES[split]}_humanart.json', document)
        if split == 'val':
            job.save_json(DETECTED, detections(images, rows, job.seed))
        cards += [_card(*one) for one in found[: len(STYLES)]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> tuple[dict, list[dict]]:
    number = item[1]
    style = STYLES[number % len(STYLES)]
    annotated = render_scene(plan_crowd(job.seed, number, job.spec.size, CROWDING))
    path = f'images/{style.group}/{style.name}/{number:012d}.jpg'
    job.save(path, style.apply(annotated.image), annotated.quality)
    words = style.name.replace('_', ' ')
    identity = style.category * _PER_CATEGORY + number
    image = {
        'file_name': f'HumanArt/{path}',
        'height': job.spec.size[0],
        'width': job.spec.size[1],
        'id': identity,
        'page_url': '',
        'image_url': '',
        'image_name': words,
        'author': 'code',
        'description': f'{style.name}, synthetic persons',
        'category': words,
    }
    people = individuals(annotated, LEAST_AREA)
    return image, [_annotation(seen, box, identity) for _, seen, _, box in people]


def _annotation(seen: Seen, box: Box, image_id: int) -> dict:
    points = keypoints_21(seen)
    visible = points[:, 2] > 0
    count = len(BODY_NAMES)
    flat = [round(value, 4) for value in points.flatten().tolist()]
    x, y, width, height = xywh(box)
    return {
        'keypoints': flat[: 3 * count],
        'keypoints_21': flat,
        'self_contact': [],
        'num_keypoints': int(visible[:count].sum()),
        'num_keypoints_21': int(visible.sum()),
        'iscrowd': 0,
        'image_id': image_id,
        'area': width * height,
        'bbox': [x, y, width, height],
        'category_id': 1,
        'annotator': 0,
    }


def keypoints_21(seen: Seen) -> np.ndarray:
    """Return body, fingers and toes of a person, (21, 3)."""
    marks = seen.landmarks
    fingers = (marks[LEFT_HAND][_FINGER], marks[RIGHT_HAND][_FINGER])
    toes = (marks[FEET][_TOES[0]], marks[FEET][_TOES[1]])
    return np.concatenate([marks[BODY], fingers, toes])


def _card(image: dict, rows: list[dict]) -> Card:
    return Card(
        image['file_name'].removeprefix('HumanArt/'),
        [image['category']],
        [(row['bbox'], BLUE) for row in rows],
        points=[points_of(row['keypoints_21']) for row in rows],
        bones=BONES,
    )
