"""How well people are found and parsed: the measures of multiple human parsing.

Li et al. (Multiple-Human Parsing in the Wild, 2017) define AP^p and PCP. A detection and a person
are compared by the mean IoU of those labels, the background included, that occur in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .crops import PartCrop, trim


class Matches(NamedTuple):
    """The detections of one image, each with the person whom it resembles most.

    Attributes:
        overlap: (D,) mean IoU with that person; -1 where the image has no person.
        person: (D,) number of that person in the image; -1 where there is none.
        share: (D,) share of that person's parts with an IoU above 1/2; nan if it has none.
    """

    overlap: np.ndarray
    person: np.ndarray
    share: np.ndarray


def match_people(found: Sequence[PartCrop], maps: np.ndarray, num_parts: int) -> Matches:
    """Compare the detections of an image with its people.

    Args:
        found: labels of each detection.
        maps: (P, h, w) uint8, labels of each person.
        num_parts: number of labels, the background included.
    """
    people = [trim(labels) for labels in maps]
    area = maps.shape[1] * maps.shape[2]
    counts = [_counts(person.labels, num_parts) for person in people]
    matches = Matches(
        np.full(len(found), -1.0), np.full(len(found), -1), np.full(len(found), np.nan)
    )
    for number, crop in enumerate(found):
        if not people:
            continue
        own = _counts(crop.labels, num_parts)
        ious = np.stack([
            _part_ious(crop, person, own, count, area)
            for person, count in zip(people, counts, strict=True)
        ])  # fmt: skip
        means = np.nanmean(ious, axis=1)
        best = int(means.argmax())
        matches.overlap[number], matches.person[number] = means[best], best
        has = np.flatnonzero(counts[best])
        if has.size:
            matches.share[number] = np.mean(ious[best, has + 1] > 0.5)
    return matches


def _counts(labels: np.ndarray, num_parts: int) -> np.ndarray:
    """Pixels of each part without the background (num_parts - 1,)."""
    return np.bincount(labels.ravel(), minlength=num_parts)[1:]


def _part_ious(
    one: PartCrop, other: PartCrop, ones: np.ndarray, others: np.ndarray, area: int
) -> np.ndarray:
    """IoU of each label (num_parts,) in an image of so many pixels; nan where neither has it.

    Both are background outside of their crops, so only what the crops share is compared.
    """
    a, b = _shared(one, other)
    same = np.bincount(a[a == b], minlength=len(ones) + 1)[1:]
    union = ones + others - same
    covered = ones.sum() + others.sum() - np.count_nonzero((a > 0) & (b > 0))
    # The background: what neither covers, and what not both cover.
    inter = np.concatenate([[area - covered], same])
    union = np.concatenate([[area - np.count_nonzero((a > 0) & (b > 0))], union])
    return np.divide(inter, union, out=np.full(len(union), np.nan), where=union > 0)


def _shared(one: PartCrop, other: PartCrop) -> tuple[np.ndarray, np.ndarray]:
    """The labels of two crops where both have some."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right = min(crop.left + crop.labels.shape[1] for crop in (one, other))
    bottom = min(crop.top + crop.labels.shape[0] for crop in (one, other))
    windows = [
        crop.labels[
            top - crop.top : max(bottom, top) - crop.top,
            left - crop.left : max(right, left) - crop.left,
        ]
        for crop in (one, other)
    ]
    return windows[0], windows[1]


def paint(
    found: Sequence[PartCrop], scores: np.ndarray, size: tuple[int, int], least: float
) -> np.ndarray:
    """One label map (h, w) uint8 of all detections with a score of at least ``least``.

    Parts of better-scored people lie over those of others; their background covers nothing.
    """
    canvas = np.zeros(size, np.uint8)
    for number in np.argsort(scores, kind='stable'):
        if scores[number] < least:
            continue
        left, top, labels = found[number]
        window = canvas[top : top + labels.shape[0], left : left + labels.shape[1]]
        np.copyto(window, labels, where=labels > 0)
    return canvas


def label_areas(predicted: np.ndarray, annotated: np.ndarray, num_parts: int) -> np.ndarray:
    """Pixels (3, num_parts) of each label in both maps, in the first, and in the second."""
    maps = (predicted[predicted == annotated], predicted.ravel(), annotated.ravel())
    return np.stack([np.bincount(labels, minlength=num_parts) for labels in maps])


def mean_iou(areas: np.ndarray) -> float:
    """Mean IoU over labels that occur, from :func:`label_areas` summed over images."""
    both, one, other = areas
    union = one + other - both
    return float(np.mean(both[union > 0] / union[union > 0]))


class Ranked(NamedTuple):
    """The detections of all images, the best-scored first.

    Attributes:
        overlap: (D,) see :class:`Matches`.
        person: (D,) number of the person in the whole set; -1 where there is none.
        share: (D,) see :class:`Matches`.
    """

    overlap: np.ndarray
    person: np.ndarray
    share: np.ndarray

    def right(self, threshold: float) -> np.ndarray:
        """Which detections (D,) are the first that overlap their person by more."""
        hits = np.flatnonzero(self.overlap > threshold)
        _, first = np.unique(self.person[hits], return_index=True)
        right = np.zeros(len(self.overlap), bool)
        right[hits[first]] = True
        return right


def average_precision(right: np.ndarray, people: int) -> float:
    """Area below precision over recall, precision made monotonous (Pascal VOC since 2010).

    Args:
        right: (D,) of detections by descending score.
        people: number of all people; without any the result is nan.
    """
    if not people:
        return float('nan')
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[right].sum() / people)


def correct_parts(ranked: Ranked, with_parts: int) -> float:
    """PCP: mean over people of the share of their parts that are right; 0 for who is not found.

    Args:
        ranked: all detections.
        with_parts: number of people who have parts; without any the result is nan.
    """
    if not with_parts:
        return float('nan')
    return float(np.nansum(ranked.share[ranked.right(0.5)]) / with_parts)
