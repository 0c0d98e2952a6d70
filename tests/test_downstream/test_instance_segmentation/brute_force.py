"""AP of COCO from its definition, with loops, from the two files: a second implementation.

In an image the best-scored detections of a category come first, at most 100. Each takes the object
that it overlaps most among those not taken yet, if it reaches the threshold. One that takes none,
but overlaps a crowd, does not count; a crowd may be overlapped by many, and of it only the share of
the detection counts. AP is the mean precision at the recalls 0, 0.01 ... 1, precision made to
fall; its mean goes over the thresholds 0.5, 0.55 ... 0.95 and the categories with objects.
"""

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as run_lengths

THRESHOLDS = [0.5 + 0.05 * step for step in range(10)]


def read(annotations: Path, results: Path, masks: bool) -> tuple[list, list]:
    """(image, category, region, crowd) of objects, (image, category, region, score) of results."""
    document = json.loads(annotations.read_text())
    sizes = {image['id']: (image['height'], image['width']) for image in document['images']}

    def region(row: dict) -> np.ndarray:
        if not masks:
            x, y, width, height = row['bbox']
            return np.array([x, y, x + width, y + height])
        coded = row['segmentation']
        if isinstance(coded, list) or isinstance(coded['counts'], list):
            coded = run_lengths.frPyObjects(coded, *sizes[row['image_id']])
        if isinstance(coded, list):
            coded = run_lengths.merge(coded)
        return run_lengths.decode(coded).astype(bool)

    objects = [
        (row['image_id'], row['category_id'], region(row), bool(row['iscrowd']))
        for row in document['annotations']
    ]
    found = [
        (row['image_id'], row['category_id'], region(row), row['score'])
        for row in json.loads(results.read_text())
    ]
    return objects, found


def area(one: np.ndarray) -> float:
    if one.ndim == 2:
        return float(one.sum())
    return float(max(one[2] - one[0], 0) * max(one[3] - one[1], 0))


def common(one: np.ndarray, other: np.ndarray) -> float:
    if one.ndim == 2:
        return float((one & other).sum())
    return area(
        np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])])
    )


def overlap(detection: np.ndarray, item: tuple) -> float:
    """IoU, or of a crowd the share of the detection that lies in it."""
    shared = common(detection, item[2])
    if item[3]:
        return shared / area(detection) if area(detection) else 0.0
    return shared / (area(detection) + area(item[2]) - shared)


def judged(objects: list, found: list, threshold: float) -> list[tuple[float, bool]]:
    """(score, right) of the detections that count, of one category."""
    rows = []
    for image in sorted({item[0] for item in (*objects, *found)}):
        here = [item for item in objects if item[0] == image]
        free = [item for item in here if not item[3]]
        crowds = [item for item in here if item[3]]
        best = sorted((one for one in found if one[0] == image), key=lambda one: -one[3])[:100]
        for _, _, region, score in best:
            reached = [(overlap(region, item), item) for item in free]
            reached = [pair for pair in reached if pair[0] >= threshold]
            if reached:
                taken = max(reached, key=lambda pair: pair[0])[1]
                free = [item for item in free if item is not taken]
                rows.append((score, True))
            elif all(overlap(region, crowd) < threshold for crowd in crowds):
                rows.append((score, False))
    return sorted(rows, key=lambda row: -row[0])


def average_precision(annotations: Path, results: Path, masks: bool) -> float:
    objects, found = read(annotations, results, masks)
    precisions = []
    for category in sorted({item[1] for item in objects if not item[3]}):
        own = [item for item in objects if item[1] == category]
        number = sum(not item[3] for item in own)
        detections = [one for one in found if one[1] == category]
        for threshold in THRESHOLDS:
            right, points = 0, []
            rows = judged(own, detections, threshold)
            for count, (_, hit) in enumerate(rows, 1):
                right += hit
                points.append((right / number, right / count))
            at = [
                max((p for recall, p in points if recall >= level / 100 - 1e-12), default=0.0)
                for level in range(101)
            ]
            precisions.append(float(np.mean(at)))
    return float(np.mean(precisions))
