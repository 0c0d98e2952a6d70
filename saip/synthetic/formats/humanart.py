"""HumanArt: people in artificial and unusual scenes, with 17 and 21 landmarks."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saip.datasets.coco import load_json
from saip.datasets.parallel import parallel_map

from ..scene.landmarks import BODY, BODY_NAMES, FEET, LEFT_HAND, RIGHT_HAND
from ..scene.plan import Crowding, plan_crowd
from ..scene.render import Seen, render_scene
from .base import APART, load_rgb, save_jpeg, save_json, write_native
from .coco_format import SKELETON, detections, person_rows
from .contact_sheet import BODY_BONES, caption, enlarged, grid, paint_box, paint_points
from .styles import STYLES

_FIRST = {'training': 3 * APART, 'validation': 3 * APART + APART // 2}
CROWDING = Crowding(people=(1, 3), heights=(0.45, 0.95), things=0.1)
DETECTED = 'person_detection_results/HumanArt_validation_detections_AP_H_56_person.json'
NAMES_21 = (*BODY_NAMES, 'left_finger', 'right_finger', 'left_toe', 'right_toe')
_MORE_BONES = ((20, 16), (21, 17), (10, 18), (11, 19))
PERSON = {
    'supercategory': 'person',
    'id': 1,
    'name': 'person',
    'keypoints': list(NAMES_21),
    'skeleton': [list(bone) for bone in (*_MORE_BONES, *SKELETON)],
}
# Of a hand the tip of the middle finger, of the feet the big toes.
_FINGER, _TOES = 12, (0, 3)
# Ids of images begin with the number of their category.
_PER_CATEGORY = 1_000_000_000_000


@dataclass(frozen=True)
class Size:
    """Images per split and their size (h, w)."""

    training: int
    validation: int
    size: tuple[int, int]


SIZES = {'tiny': Size(10, 10, (192, 224)), 'small': Size(300, 100, (288, 336))}


def write_humanart(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``images``, ``annotations`` and ``person_detection_results``.

    The names of images in the annotations begin with ``HumanArt/images``, so ``out`` has to
    be called ``HumanArt`` and a loader's root is the folder above it.
    """

    def fill(root: Path, spec: Size) -> np.ndarray:
        counts = (('training', spec.training), ('validation', spec.validation))
        for split, count in counts:
            numbers = range(_FIRST[split], _FIRST[split] + count)
            draw = functools.partial(_draw, root=root, seed=seed, size=spec.size)
            found = parallel_map(draw, numbers, workers, f'{split} images of HumanArt drawn')
            _save(root, split, found, seed)
        return _sheet(root)

    return write_native(out, 'humanart', SIZES, size, seed, fill)


def _draw(number: int, root: Path, seed: int, size: tuple[int, int]) -> tuple[dict, list[dict]]:
    style = STYLES[number % len(STYLES)]
    scene = plan_crowd(seed, number, size, CROWDING)
    rendered = render_scene(scene)
    path = f'images/{style.group}/{style.name}/{number:012d}.jpg'
    save_jpeg(root / path, style.apply(rendered.image), scene.camera.quality)
    words = style.name.replace('_', ' ')
    identity = style.category * _PER_CATEGORY + number
    image = {
        'file_name': f'HumanArt/{path}',
        'height': size[0],
        'width': size[1],
        'id': identity,
        'page_url': '',
        'image_url': '',
        'image_name': words,
        'author': 'code',
        'description': f'{style.name}, synthetic persons',
        'category': words,
    }
    return image, [_annotation(row) for row in person_rows(rendered, identity)]


def _annotation(row: dict) -> dict:
    points = keypoints_21(row['seen'])
    visible = points[:, 2] > 0
    count = len(BODY_NAMES)
    flat = [round(value, 4) for value in points.flatten().tolist()]
    _, _, width, height = row['bbox']
    return {
        'keypoints': flat[: 3 * count],
        'keypoints_21': flat,
        'self_contact': [],
        'num_keypoints': int(visible[:count].sum()),
        'num_keypoints_21': int(visible.sum()),
        'iscrowd': 0,
        'image_id': row['image_id'],
        'area': width * height,
        'bbox': row['bbox'],
        'category_id': 1,
        'annotator': 0,
    }


def keypoints_21(seen: Seen) -> np.ndarray:
    """Return body, fingers and toes of a person, (21, 3)."""
    marks = seen.landmarks
    fingers = (marks[LEFT_HAND][_FINGER], marks[RIGHT_HAND][_FINGER])
    toes = (marks[FEET][_TOES[0]], marks[FEET][_TOES[1]])
    return np.concatenate([marks[BODY], fingers, toes])


def _save(root: Path, split: str, found: list[tuple[dict, list[dict]]], seed: int) -> None:
    images = [image for image, _ in found]
    rows = [row for _, rows in found for row in rows]
    rows = [
        {**row, 'id': row['image_id'] // _PER_CATEGORY * _PER_CATEGORY + number + 1}
        for number, row in enumerate(rows)
    ]
    info = {
        'description': 'Synthetic persons, HumanArt',
        'year': 2023,
        'date_created': '2023/01/01',
    }
    document = {'info': info, 'images': images, 'annotations': rows, 'categories': [PERSON]}
    save_json(root / 'annotations' / f'{split}_humanart.json', document)
    if split == 'validation':
        sizes = {image['id']: (image['height'], image['width']) for image in images}
        save_json(root / DETECTED, detections(rows, sizes, seed))


def _sheet(root: Path) -> np.ndarray:
    cells = []
    for split in ('training', 'validation'):
        document = load_json(root / 'annotations' / f'{split}_humanart.json')
        assert isinstance(document, dict)
        for image in document['images'][: len(STYLES)]:
            canvas = enlarged(load_rgb(root / image['file_name'].removeprefix('HumanArt/')), 2)
            for row in document['annotations']:
                if row['image_id'] == image['id']:
                    paint_box(canvas, row['bbox'], (90, 200, 250), 2)
                    points = np.array(row['keypoints_21']).reshape(-1, 3)
                    paint_points(canvas, points, BODY_BONES, 2)
            cells.append(caption(canvas, [image['category']], 80))
    return grid(cells, 3)
