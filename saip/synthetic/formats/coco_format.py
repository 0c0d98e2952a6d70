"""Annotations in COCO's format, read from an annotated image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..rng import DETECTION, between, chance, generator
from ..scene.landmarks import BODY, BODY_NAMES, FACE, FEET, LEFT_HAND, RIGHT_HAND
from ..scene.render import Annotated, Box, Seen, box_of

# Somebody of whom fewer pixels are seen is not annotated.
LEAST_AREA = 40
# Outlines of pieces of so few pixels are not smoothed, for little would be left of them.
SPECK = 16
# A face or hand of fewer pixels is not annotated in COCO-WholeBody.
LEAST_PART = 7.0
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
BONES = tuple((one - 1, two - 1) for one, two in SKELETON)


def person_category(
    names: Sequence[str] = BODY_NAMES, bones: Sequence[tuple[int, int]] = SKELETON
) -> dict:
    """Return the category of people with landmarks."""
    skeleton = [list(bone) for bone in bones]
    category = {'supercategory': 'person', 'id': 1, 'name': 'person'}
    return {**category, 'keypoints': list(names), 'skeleton': skeleton}


def numbered(found: Sequence[tuple[dict, list[dict]]]) -> tuple[list[dict], list[dict]]:
    """Return images and annotations of a split; the latter get ids from 1, in place.

    Args:
        found: every image with its annotations.
    """
    rows = [row for _, rows in found for row in rows]
    for number, row in enumerate(rows):
        row['id'] = number + 1
    return [image for image, _ in found], rows


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Return the outlines of the parts of a mask (h, w) as polygons x0, y0, x1, y1 ...

    They run along the edges of the pixels; holes are filled, as in COCO.
    """
    # Twice as large, the corners of the outline tell on which side of a pixel they are.
    large = np.kron(mask.astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = []
    for contour in contours:
        edges: np.ndarray = ((contour[:, 0, :] + 1) // 2).astype(np.float32)
        if cv2.contourArea(edges) > SPECK:
            edges = cv2.approxPolyDP(edges[:, None, :], 0.6, True)[:, 0, :]
        found.append([float(value) for value in edges.flatten()])
    return found


def run_lengths(mask: np.ndarray) -> dict:
    """Return a mask (h, w) as uncompressed run lengths, column by column."""
    flat = mask.T.flatten().astype(np.int8)
    edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    return {'counts': [0] * int(flat[0]) + np.diff(edges).tolist(), 'size': list(mask.shape)}


def xywh(box: Box) -> list[float]:
    """Return x, y, width, height of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def individuals(
    annotated: Annotated, least: int
) -> Iterator[tuple[int, Seen, np.ndarray, Box]]:
    """Yield number, subject, mask and visible box of all that stand alone.

    Args:
        annotated: the image.
        least: pixels that must be seen of a subject.
    """
    for number, seen in enumerate(annotated.seen):
        mask = annotated.mask(number)
        box = box_of(mask)
        if not seen.subject.group and box is not None and mask.sum() >= least:
            yield number, seen, mask, box


def person_row(seen: Seen, mask: np.ndarray, box: Box, image_id: int) -> dict:
    """Return the annotation of one of the people, without an id of its own."""
    points = whole_points(seen.landmarks[BODY])
    return {
        'segmentation': polygons(mask),
        'num_keypoints': int((points[:, 2] > 0).sum()),
        'area': float(mask.sum()),
        'iscrowd': 0,
        'keypoints': points.flatten().tolist(),
        'image_id': image_id,
        'bbox': xywh(box),
        'category_id': 1,
    }


def object_row(mask: np.ndarray, category: int, image_id: int) -> dict:
    """Return the annotation of an object that a mask (h, w) shows, without an id of its own."""
    box = box_of(mask)
    assert box is not None
    return {
        'segmentation': polygons(mask),
        'area': float(mask.sum()),
        'iscrowd': 0,
        'image_id': image_id,
        'bbox': xywh(box),
        'category_id': category,
    }


def crowd_mask(annotated: Annotated) -> np.ndarray:
    """Return where people are that cannot be told apart, (h, w) bool."""
    found = np.zeros(annotated.owners.shape, bool)
    for number, seen in enumerate(annotated.seen):
        if seen.subject.group:
            found |= annotated.mask(number)
    return found


def crowd_row(annotated: Annotated, image_id: int) -> list[dict]:
    """Return the annotation of the crowd in the distance: one, or none."""
    mask = crowd_mask(annotated)
    box = box_of(mask)
    if box is None:
        return []
    return [{
        'segmentation': run_lengths(mask),
        'num_keypoints': 0,
        'area': float(mask.sum()),
        'iscrowd': 1,
        'keypoints': [0] * (3 * len(BODY_NAMES)),
        'image_id': image_id,
        'bbox': xywh(box),
        'category_id': 1,
    }]  # fmt: skip


def whole_points(points: np.ndarray) -> np.ndarray:
    """Return landmarks (K, 3) in whole pixels; those that are not in the image are zero."""
    return np.where(points[:, 2:] > 0, np.floor(points + 0.5), 0).astype(int)


def wholebody_fields(seen: Seen | None) -> dict:
    """Return the fields that COCO-WholeBody adds to an annotation; nothing is seen of None."""
    fields: dict = {}
    for name, part in (('face', FACE), ('lefthand', LEFT_HAND), ('righthand', RIGHT_HAND)):
        points = np.zeros((part.stop - part.start, 3)) if seen is None else seen.landmarks[part]
        hidden = name == 'face' and seen is not None and seen.turned_away
        valid = _is_valid(points) and not hidden
        fields |= _part_fields(name, points if valid else np.zeros_like(points), valid)
    feet = whole_points(np.zeros((6, 3)) if seen is None else seen.landmarks[FEET])
    return fields | {'foot_valid': bool(feet.any()), 'foot_kpts': feet.flatten().tolist()}


def _is_valid(points: np.ndarray) -> bool:
    """A part is annotated if all of it is in the image, much is seen, and it is not tiny."""
    if not points[:, 2].all() or (points[:, 2] > 1).mean() < 0.4:
        return False
    return float(np.ptp(points[:, :2], axis=0).max()) >= LEAST_PART


def _part_fields(name: str, points: np.ndarray, valid: bool) -> dict:
    box = [0.0, 0.0, 0.0, 0.0]
    if valid:
        (x0, y0), (x1, y1) = points[:, :2].min(0), points[:, :2].max(0)
        # Around the landmarks with a rim, for they do not lie on the outline.
        rim = 0.1 * max(x1 - x0, y1 - y0)
        sides = (x0 - rim, y0 - rim, x1 - x0 + 2 * rim, y1 - y0 + 2 * rim)
        box = [round(float(side), 2) for side in sides]
    numbers = [round(float(value), 3) for value in points.flatten()]
    return {f'{name}_box': box, f'{name}_kpts': numbers, f'{name}_valid': valid}


def detections(images: list[dict], rows: list[dict], seed: int) -> list[dict]:
    """Return what a person detector might have found: shaken boxes, and some of nothing.

    Args:
        images: of the split.
        rows: annotations of people.
        seed: seed of the set.
    """
    found = []
    for row in rows:
        if row['iscrowd']:
            continue
        rng = generator(seed, DETECTION, row['image_id'], row['id'])
        x, y, width, height = row['bbox']
        shift = rng.normal(0, 0.03, 4) * (width, height, width, height)
        box = np.array([x, y, width, height]) + shift
        found.append(_detection(box.tolist(), row['image_id'], between(rng, 0.6, 1.0)))
    for image in images:
        rng = generator(seed, DETECTION, image['id'])
        if chance(rng, 0.5):
            height = between(rng, 0.2, 0.5) * image['height']
            width = between(rng, 0.1, 0.2) * image['width']
            x = between(rng, 0, image['width'] - width)
            y = between(rng, 0, image['height'] - height)
            score = between(rng, 0.05, 0.35)
            found.append(_detection([x, y, width, height], image['id'], score))
    return found


def _detection(box: list[float], image: int, score: float) -> dict:
    values = [round(max(value, 0.0), 3) for value in box]
    return {'bbox': values, 'category_id': 1, 'image_id': image, 'score': round(score, 5)}
