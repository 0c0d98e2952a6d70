"""COCO keypoints and COCO-WholeBody: one set of images with both annotations."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from saip.datasets.coco import load_json
from saip.datasets.parallel import parallel_map

from ..scene.plan import Crowding, plan_crowd
from ..scene.render import render_scene
from .base import APART, load_rgb, save_jpeg, save_json, write_native
from .coco_format import PERSON, crowd_row, detections, person_rows, wholebody_fields
from .contact_sheet import BODY_BONES, enlarged, grid, paint_box, paint_points

_FIRST = {'train': 1, 'val': 1 + APART // 2}
CROWDING = Crowding(people=(1, 4), heights=(0.3, 0.95), far_group=0.12)
DETECTED = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
LICENSE = {'url': '', 'id': 1, 'name': 'Drawn by code'}


@dataclass(frozen=True)
class Size:
    """Images per split and their size (h, w)."""

    train: int
    val: int
    size: tuple[int, int]


SIZES = {'tiny': Size(8, 6, (192, 256)), 'small': Size(400, 100, (288, 384))}


def write_coco(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``{train,val}2017``, ``annotations`` and ``person_detection_results``.

    The annotations are those of COCO's keypoints and of COCO-WholeBody, which uses the same
    images; so ``write_wholebody`` is the same function.
    """

    def fill(root: Path, spec: Size) -> np.ndarray:
        for split, count in (('train', spec.train), ('val', spec.val)):
            numbers = range(_FIRST[split], _FIRST[split] + count)
            draw = functools.partial(_draw, root=root, split=split, seed=seed, size=spec.size)
            found = parallel_map(draw, numbers, workers, f'{split} images of COCO drawn')
            _save(root, split, found, seed)
        return _sheet(root)

    return write_native(out, 'coco', SIZES, size, seed, fill)


write_wholebody = write_coco


def _draw(
    number: int, root: Path, split: str, seed: int, size: tuple[int, int]
) -> tuple[dict, list[dict]]:
    scene = plan_crowd(seed, number, size, CROWDING)
    rendered = render_scene(scene)
    name = f'{number:012d}.jpg'
    save_jpeg(root / f'{split}2017' / name, rendered.image, scene.camera.quality)
    rows = person_rows(rendered, number)
    for row in rows:
        row['whole'] = wholebody_fields(row.pop('seen'))
    for row in crowd_row(rendered, number):
        empty = {
            f'{part}_kpts': [0.0] * (3 * count)
            for part, count in (('face', 68), ('lefthand', 21), ('righthand', 21))
        }
        boxes = {f'{part}_box': [0.0] * 4 for part in ('face', 'lefthand', 'righthand')}
        valid = {f'{part}_valid': False for part in ('face', 'lefthand', 'righthand', 'foot')}
        rows.append({**row, 'whole': {**empty, **boxes, **valid, 'foot_kpts': [0.0] * 18}})
    image = {
        'license': 1,
        'file_name': name,
        'coco_url': '',
        'height': size[0],
        'width': size[1],
        'date_captured': '2017-01-01 00:00:00',
        'flickr_url': '',
        'id': number,
    }
    return image, rows


def _save(root: Path, split: str, found: list[tuple[dict, list[dict]]], seed: int) -> None:
    images = [image for image, _ in found]
    rows = [row for _, rows in found for row in rows]
    whole = [row.pop('whole') for row in rows]
    rows = [{**row, 'id': number + 1} for number, row in enumerate(rows)]
    head = {'licenses': [LICENSE], 'images': images, 'categories': [PERSON]}
    folder = root / 'annotations'
    info = {'description': 'Synthetic persons, COCO keypoints', 'year': 2017, 'version': '1.0'}
    document = {'info': info, **head, 'annotations': rows}
    save_json(folder / f'person_keypoints_{split}2017.json', document)
    both = [{**row, **more} for row, more in zip(rows, whole, strict=True)]
    info = {**info, 'description': 'Synthetic persons, COCO-WholeBody'}
    document = {'info': info, **head, 'annotations': both}
    save_json(folder / f'coco_wholebody_{split}_v1.0.json', document)
    if split == 'val':
        sizes = {image['id']: (image['height'], image['width']) for image in images}
        save_json(root / DETECTED, detections(rows, sizes, seed))


def _sheet(root: Path) -> np.ndarray:
    """Per image: boxes and body on the left, all 133 landmarks on the right."""
    cells = []
    for split in ('train', 'val'):
        document = load_json(root / 'annotations' / f'coco_wholebody_{split}_v1.0.json')
        assert isinstance(document, dict)
        for image in document['images'][:6]:
            clean = enlarged(load_rgb(root / f'{split}2017' / image['file_name']), 2)
            body, whole = clean.copy(), clean
            for row in document['annotations']:
                if row['image_id'] == image['id']:
                    _paint(body, whole, row)
            cells.append(np.concatenate([body, whole], axis=1))
    return grid(cells, 2)


def _paint(body: np.ndarray, whole: np.ndarray, row: dict) -> None:
    paint_box(body, row['bbox'], (250, 120, 250) if row['iscrowd'] else (90, 200, 250), 2)
    if row['iscrowd']:
        return
    for polygon in row['segmentation']:
        corners = np.round(np.array(polygon).reshape(-1, 2) * 2).astype(int)
        for one, two in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            _line(body, one, two)
    paint_points(body, np.array(row['keypoints']).reshape(-1, 3), BODY_BONES, 2)
    for name in ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts'):
        paint_points(whole, np.array(row[name]).reshape(-1, 3), (), 2, 1)
    for name in ('face', 'lefthand', 'righthand'):
        if row[f'{name}_valid']:
            paint_box(whole, row[f'{name}_box'], (250, 210, 60), 2)


def _line(image: np.ndarray, one: np.ndarray, two: np.ndarray) -> None:
    cv2.line(image, one.tolist(), two.tolist(), (255, 255, 255), 1)
