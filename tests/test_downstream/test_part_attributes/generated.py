"""Annotations and detections at random, in the native formats."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_masks

from saip.synthetic.formats.coco_format import polygons, run_lengths
from saip.synthetic.formats.ontology import ATTRIBUTES, CATEGORIES

IDS = [entry['id'] for entry in ATTRIBUTES]


def document(images: int, seed: int = 0, least: int = 0, most: int = 8) -> dict[str, Any]:
    """Garments as ellipses, a few of them crowds, outlined by polygons and run lengths."""
    rng = np.random.default_rng(seed)
    # Few categories, so that several garments of an image are of one.
    chosen = [1, 6, 23, 31, 33, 45]
    pictures, rows = [], []
    for number in range(1, images + 1):
        width, height = (int(side) for side in rng.integers(40, 70, 2))
        name = f'{number}.jpg'
        pictures.append(dict(id=number, file_name=name, width=width, height=height))
        for _ in range(rng.integers(least, most + 1)):
            mask = ellipse(rng, width, height)
            runs = rng.random() < 0.4
            rows.append(dict(
                id=len(rows) + 1,
                image_id=number,
                category_id=int(rng.choice(chosen)),
                attribute_ids=sorted(int(i) for i in rng.choice(IDS, rng.integers(0, 5), False)),
                segmentation=run_lengths(mask) if runs else polygons(mask),
                bbox=box_of(mask),
                area=int(mask.sum()),
                iscrowd=int(rng.random() < 0.15),
            ))  # fmt: skip
    return dict(images=pictures, annotations=rows, categories=CATEGORIES, attributes=ATTRIBUTES)


def ellipse(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A mask (h, w) bool that is not empty."""
    center = rng.integers(8, width - 8), rng.integers(8, height - 8)
    axes = rng.integers(4, 15), rng.integers(4, 15)
    drawn = np.zeros((height, width), np.uint8)
    cv2.ellipse(drawn, tuple(map(int, center)), tuple(map(int, axes)), 0, 0, 360, 1, -1)
    return drawn.astype(bool)


def box_of(mask: np.ndarray) -> list[float]:
    """x, y, width, height."""
    rows, columns = np.nonzero(mask)
    x, y = columns.min(), rows.min()
    return [float(x), float(y), float(columns.max() + 1 - x), float(rows.max() + 1 - y)]


def detections(content: dict[str, Any], seed: int = 1) -> list[dict[str, Any]]:
    """What a detector might say: garments found well or badly, several times or never."""
    rng = np.random.default_rng(seed)
    found = []
    sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
    for row in content['annotations']:
        for _ in range(rng.integers(0, 4)):
            found.append(detection(rng, row, sizes[row['image_id']]))
    for identity, size in sizes.items():  # of nothing that is there
        row = dict(image_id=identity, category_id=int(rng.choice([1, 8, 23])), attribute_ids=[])
        found.append(detection(rng, row | dict(segmentation=None), size))
    return found


def detection(rng: np.random.Generator, row: dict, size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    if row['segmentation'] is None:
        mask = ellipse(rng, width, height)
    else:
        outline = row['segmentation']
        runs = coco_masks.frPyObjects(outline, height, width)
        runs = coco_masks.merge(runs) if isinstance(outline, list) else runs
        shift = rng.integers(-2, 3, 2)
        mask = np.roll(coco_masks.decode(runs).astype(bool), shift, axis=(0, 1))
    kept = [i for i in row['attribute_ids'] if rng.random() < 0.8]
    more = [int(i) for i in rng.choice(IDS, rng.integers(0, 2))]
    runs = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(
        image_id=row['image_id'],
        category_id=row['category_id'],
        bbox=box_of(mask),
        segmentation=runs,
        # Few scores, so that many are equal.
        score=float(rng.integers(1, 8) / 8),
        attribute_ids=sorted({*kept, *more}),
    )


def samples(content: dict[str, Any], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same detections as a detector of mmdetection hands them to a metric."""
    columns = {identity: column for column, identity in enumerate(sorted(IDS))}
    result = []
    for image in content['images']:
        own = [row for row in found if row['image_id'] == image['id']]
        boxes = np.array([row['bbox'] for row in own], np.float32).reshape(-1, 4)
        attributes = np.zeros((len(own), len(IDS)), bool)
        masks = np.zeros((len(own), image['height'], image['width']), bool)
        for place, row in enumerate(own):
            attributes[place, [columns[i] for i in row['attribute_ids']]] = True
            masks[place] = coco_masks.decode(row['segmentation'])
        boxes[:, 2:] += boxes[:, :2]
        predicted = InstanceData(
            bboxes=torch.from_numpy(boxes),
            scores=torch.tensor([row['score'] for row in own]),
            labels=torch.tensor([row['category_id'] for row in own], dtype=torch.int64),
            masks=torch.from_numpy(masks),
            attributes=torch.from_numpy(attributes),
        )
        result.append(dict(img_id=image['id'], pred_instances=predicted))
    return result
