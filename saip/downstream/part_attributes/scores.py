"""Average precision of garments whose attributes have to be right, too.

As the published evaluator counts: a detection is right if both its IoU with a garment and the F1 of
its attributes reach a threshold (Jia et al., Fashionpedia: Ontology, Segmentation, and an Attribute
Localization Dataset, 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
F1_THRESHOLDS = np.append(np.linspace(0.5, 0.95, 10), -1.0)
"""The last asks for nothing."""

MAX_DETECTIONS = 100
"""Of an image and a category, the best-scored."""

_RECALLS = np.linspace(0, 1, 101)


class Matches(NamedTuple):
    """Which detections found a garment, over pairs of thresholds of IoU and F1.

    Attributes:
        found: (D, 10, T) bool.
        ignored: (D, 10, T) bool, of those found whether the garment is a crowd, which counts
            neither for nor against a detection.
    """

    found: np.ndarray
    ignored: np.ndarray


def macro_f1(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """F1 of every prediction with every annotation, mean over present and absent attributes.

    With the counts TP, FP, FN and TN over the attributes of a pair, the F1 of present ones is
    2 TP / (2 TP + FP + FN), that of absent ones 2 TN / (2 TN + FP + FN). Where one of the two
    occurs on neither side the other is the mean.

    Args:
        predicted: (D, A) bool.
        annotated: (G, A) bool.

    Returns:
        (D, G) float64.
    """
    sides = []
    for one, other in ((predicted, annotated), (~predicted, ~annotated)):
        both = one.astype(np.float64) @ other.astype(np.float64).T
        either = one.sum(axis=1)[:, None] + other.sum(axis=1)[None]
        sides.append((2 * both / np.maximum(either, 1), either > 0))
    (present, has_present), (absent, has_absent) = sides
    mean = (present + absent) / 2
    return np.where(has_present & has_absent, mean, np.where(has_present, present, absent))


def match(ious: np.ndarray, f1s: np.ndarray, crowd: np.ndarray) -> Matches:
    """Match the detections of a category that has attributes with an image's garments.

    A detection takes a free garment that reaches both thresholds; it exchanges it for a later one
    only if neither IoU nor F1 becomes smaller, and one that is no crowd never for a crowd.

    Args:
        ious: (D, G), detections by descending score.
        f1s: (D, G).
        crowd: (G,) bool.
    """
    return _match(ious, f1s, crowd, F1_THRESHOLDS, crowds_stay_free=False)


def match_plain(ious: np.ndarray, crowd: np.ndarray) -> Matches:
    """Match the detections of a category without attributes: COCO's rule, T is 1.

    Args:
        ious: (D, G), detections by descending score.
        crowd: (G,) bool; one may be found by several detections.
    """
    return _match(ious, np.zeros_like(ious), crowd, F1_THRESHOLDS[-1:], crowds_stay_free=True)


def _match(
    ious: np.ndarray,
    f1s: np.ndarray,
    crowd: np.ndarray,
    f1_thresholds: np.ndarray,
    crowds_stay_free: bool,
) -> Matches:
    order = np.argsort(crowd, kind='stable')  # crowds last
    ious, f1s, crowd = ious[:, order], f1s[:, order], crowd[order]
    pairs = len(IOU_THRESHOLDS), len(f1_thresholds)
    found, ignored = np.zeros((2, len(ious), *pairs), bool)
    free = np.ones((len(crowd), *pairs), bool)
    for detection in np.flatnonzero((ious >= IOU_THRESHOLDS[0]).any(axis=1)):
        # What a garment has to reach: the thresholds, then what the best one so far has.
        least_iou = np.repeat(IOU_THRESHOLDS[:, None], pairs[1], axis=1)
        least_f1 = np.repeat(f1_thresholds[None], pairs[0], axis=0)
        best = np.full(pairs, -1)
        for garment in np.flatnonzero(ious[detection] >= IOU_THRESHOLDS[0]):
            better = free[garment] & (ious[detection, garment] >= least_iou)
            better &= f1s[detection, garment] >= least_f1
            if crowd[garment]:
                better &= (best == -1) | crowd[best]
            best[better] = garment
            least_iou[better] = ious[detection, garment]
            least_f1[better] = f1s[detection, garment]
        found[detection] = best >= 0
        ignored[detection] = found[detection] & crowd[best]
        for garment in np.unique(best[best >= 0]):
            if not (crowds_stay_free and crowd[garment]):
                free[garment] &= best != garment
    return Matches(found, ignored)


def average_precision(scores: np.ndarray, matches: Matches, garments: int) -> np.ndarray:
    """Precision at 101 recalls, mean over them, for each pair of thresholds.

    Args:
        scores: (N,) of a category's detections in all images; of equal ones the first are first.
        matches: theirs.
        garments: how many there are to be found, at least 1.

    Returns:
        (10, T).
    """
    order = np.argsort(-scores, kind='stable')
    counted = ~matches.ignored[order]
    right = (matches.found[order] & counted).cumsum(axis=0, dtype=np.float64)
    wrong = (~matches.found[order] & counted).cumsum(axis=0, dtype=np.float64)
    precision = right / (right + wrong + np.spacing(1))
    # The best precision at this or any higher recall.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    recall = right / garments
    found = np.empty(recall.shape[1:])
    for row, column in np.ndindex(found.shape):
        found[row, column] = _mean_precision(precision[:, row, column], recall[:, row, column])
    return found


def _mean_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Mean over 101 recalls of a pair of thresholds; it is 0 where a recall is not reached."""
    reached = np.searchsorted(recall, _RECALLS, side='left')
    return float(precision[reached[reached < len(recall)]].sum() / len(_RECALLS))
