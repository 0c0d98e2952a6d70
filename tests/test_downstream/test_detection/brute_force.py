"""AP, MR^-2 and JI of CrowdHuman from their definitions, with loops, as a second implementation.

A detection belongs to the person of its image whom it overlaps most, by more than half (IoU),
among those who do not belong to a better-scored one. One that belongs to nobody, but lies by more
than half of its area in a region to ignore, does not count. All others are false.
"""

import itertools
import math
from typing import NamedTuple

Corners = tuple[float, float, float, float]


class ScoredImage(NamedTuple):
    people: list[Corners]
    ignored: list[Corners]
    found: list[tuple[Corners, float]]


def area(box: Corners) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def common(a: Corners, b: Corners) -> float:
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Corners, b: Corners) -> float:
    return common(a, b) / (area(a) + area(b) - common(a, b))


def hits(images: list[ScoredImage]) -> list[bool]:
    """Whether each detection that counts is right, the best-scored first."""
    judged = []
    for image in images:
        free = list(image.people)
        for box, score in sorted(image.found, key=lambda pair: -pair[1]):
            best = max(free, key=lambda person: iou(box, person), default=None)
            if best is not None and iou(box, best) > 0.5:
                free.remove(best)
                judged.append((score, True))
            elif all(common(box, region) <= 0.5 * area(box) for region in image.ignored):
                judged.append((score, False))
    return [right for _, right in sorted(judged, key=lambda pair: -pair[0])]


def curve(images: list[ScoredImage]) -> list[tuple[float, float, float]]:
    """(recall, precision, false detections per image) after each detection."""
    people = sum(len(image.people) for image in images)
    points, right, wrong = [], 0, 0
    for hit in hits(images):
        right, wrong = right + hit, wrong + (not hit)
        points.append((right / people, right / (right + wrong), wrong / len(images)))
    return points


def average_precision(images: list[ScoredImage]) -> float:
    """Area under precision over recall by trapezoids, which begin at the first detection."""
    return sum(
        (r1 - r0) * (p0 + p1) / 2
        for (r0, p0, _), (r1, p1, _) in itertools.pairwise(curve(images))
    )


def miss_rate(images: list[ScoredImage]) -> float:
    """Geometric mean of the misses at nine rates of false detections from 0.01 to 1 per image."""
    points = curve(images)
    misses = []
    for rate in (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0):
        reached = [1 - recall for recall, _, false in points if false >= rate]
        misses.append(reached[0] if reached else 1 - points[-1][0])
    if min(misses) <= 0:
        return 0.0
    return math.exp(sum(map(math.log, misses)) / len(misses))


def most_pairs(found: list[Corners], people: list[Corners]) -> list[tuple[int, int]]:
    """The largest set of pairs that overlap by half, each box in one pair at most; few boxes."""
    if not found or not people:
        return []
    best: list[tuple[int, int]] = []
    rest = found[1:]
    for number in [None, *range(len(people))]:
        if number is not None and iou(found[0], people[number]) < 0.5:
            continue
        left = [i for i in range(len(people)) if i != number]
        pairs = [(a + 1, left[b]) for a, b in most_pairs(rest, [people[i] for i in left])]
        pairs = pairs if number is None else [(0, number), *pairs]
        best = max(best, pairs, key=len)
    return best


def jaccard_index(images: list[ScoredImage]) -> float:
    """Pairs over people and detections together, mean over images, at the best of ten scores."""
    return max(_jaccard_index(images, threshold / 10) for threshold in range(10))


def _jaccard_index(images: list[ScoredImage], threshold: float) -> float:
    ratios = []
    for people, ignored, found in images:
        kept = [box for box, score in found if score > threshold]
        pairs = most_pairs(kept, people)
        counted = [len(pairs), len(pairs)]  # detections, people
        for side, boxes in enumerate((kept, people)):
            alone = [
                box for i, box in enumerate(boxes) if i not in {pair[side] for pair in pairs}
            ]
            counted[side] += sum(
                all(common(box, region) <= 0.5 * area(box) for region in ignored)
                for box in alone
            )
        if any(counted):
            ratios.append(len(pairs) / (sum(counted) - len(pairs)))
    return sum(ratios) / len(ratios)
