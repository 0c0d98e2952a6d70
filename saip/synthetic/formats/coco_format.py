"""Annotations in COCO's format, read from a drawn scene."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..rng import DETECTION, between, chance, generator
from ..scene.landmarks import BODY, BODY_NAMES, FACE, FEET, LEFT_HAND, RIGHT_HAND
from ..scene.render import Rendered, Seen, box_of

# Somebody of whom fewer pixels are seen is not annotated.
LEAST_AREA = 40
# Outlines of pieces of so few pixels are not smoothed, for little would be left of them.
SPECK = 16
SKELETON = (
    (16, 14),
    (14, 12),
    (17, 15),
    (15, 13),
    (12, 13),
    (6, 12),
    (7, 13),
    (6, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (9, 11),
    (2, 3),
    (1, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
    (5, 7),
)
PERSON = {
    'supercategory': 'person',
    'id': 1,
    'name': 'person',
    'keypoints': list(BODY_NAMES),
    'skeleton': [list(bone) for bone in SKELETON],
}


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
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(edges).tolist()
    return {'counts': ([0] if flat[0] else []) + counts, 'size': list(mask.shape)}


def xywh(box: Sequence[float]) -> list[float]:
    """Return x, y, width, height of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def person_rows(rendered: Rendered, image_id: int) -> list[dict]:
    """Return the annotations of all people of a scene, without ids of their own.

    The rows have ``seen`` besides, which is not for the file.
    """
    rows = []
    for number, seen in enumerate(rendered.seen):
        mask = rendered.mask(number)
        box = box_of(mask)
        outline = polygons(mask) if mask.sum() >= LEAST_AREA else []
        if seen.subject.group or box is None or not outline:
            continue
        points = body_points(seen)
        rows.append({
            'segmentation': outline,
            'num_keypoints': int((points[:, 2] > 0).sum()),
            'area': float(mask.sum()),
            'iscrowd': 0,
            'keypoints': points.flatten().tolist(),
            'image_id': image_id,
            'bbox': xywh(box),
            'category_id': 1,
            'seen': seen,
        })  # fmt: skip
    return rows


def crowd_mask(rendered: Rendered) -> np.ndarray:
    """Return where people are that cannot be told apart, (h, w) bool."""
    found = np.zeros(rendered.owners.shape, bool)
    for number, seen in enumerate(rendered.seen):
        if seen.subject.group:
            found |= rendered.mask(number)
    return found


def crowd_row(rendered: Rendered, image_id: int) -> list[dict]:
    """Return the annotation of the crowd in the distance: one, or none."""
    mask = crowd_mask(rendered)
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


def body_points(seen: Seen) -> np.ndarray:
    """Return the 17 landmarks of the body, (17, 3) int."""
    return whole_points(seen.landmarks[BODY])


def wholebody_fields(seen: Seen, least: float = 7.0) -> dict:
    """Return the fields that COCO-WholeBody adds to an annotation.

    Args:
        seen: the person.
        least: a face or hand smaller than this many pixels is left out.
    """
    fields: dict = {}
    hands = (('lefthand', LEFT_HAND), ('righthand', RIGHT_HAND))
    for name, part in (('face', FACE), *hands):
        points = seen.landmarks[part]
        valid = _is_valid(points, least) and not (name == 'face' and seen.turned_away)
        fields |= _part_fields(name, points if valid else np.zeros_like(points), valid)
    feet = whole_points(seen.landmarks[FEET])
    fields['foot_valid'] = bool((feet[:, 2] > 0).any())
    fields['foot_kpts'] = feet.flatten().tolist()
    return fields


def _is_valid(points: np.ndarray, least: float) -> bool:
    """A part is annotated if all of it is in the image, much is seen, and it is not tiny."""
    if not points[:, 2].all() or (points[:, 2] > 1).mean() < 0.4:
        return False
    return float(np.ptp(points[:, :2], axis=0).max()) >= least


def _part_fields(name: str, points: np.ndarray, valid: bool) -> dict:
    box = [0.0, 0.0, 0.0, 0.0]
    if valid:
        (x0, y0), (x1, y1) = points[:, :2].min(0), points[:, :2].max(0)
        # Around the landmarks with a rim, for they do not lie on the outline.
        rim = 0.1 * max(x1 - x0, y1 - y0)
        box = [
            round(float(v), 2)
            for v in (x0 - rim, y0 - rim, x1 - x0 + 2 * rim, y1 - y0 + 2 * rim)
        ]
    numbers = [round(float(value), 3) for value in points.flatten()]
    return {f'{name}_box': box, f'{name}_kpts': numbers, f'{name}_valid': valid}


def detections(rows: list[dict], sizes: dict[int, tuple[int, int]], seed: int) -> list[dict]:
    """Return what a person detector might have found: shaken boxes, and some of nothing.

    Args:
        rows: annotations of people.
        sizes: (height, width) of every image.
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
        found.append(_detection(box, row['image_id'], between(rng, 0.6, 1.0)))
    for image, (tall, wide) in sizes.items():
        rng = generator(seed, DETECTION, image)
        if chance(rng, 0.5):
            height, width = between(rng, 0.2, 0.5) * tall, between(rng, 0.1, 0.2) * wide
            x, y = between(rng, 0, wide - width), between(rng, 0, tall - height)
            box = np.array([x, y, width, height])
            found.append(_detection(box, image, between(rng, 0.05, 0.35)))
    return found


def _detection(box: np.ndarray, image: int, score: float) -> dict:
    values = [round(max(float(value), 0.0), 3) for value in box]
    return {'bbox': values, 'category_id': 1, 'image_id': image, 'score': round(score, 5)}
