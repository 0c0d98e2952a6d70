"""mIoU, AP^p and PCP by definition, on whole maps and with loops: a second implementation."""

from typing import NamedTuple

import numpy as np

LABELS = 20


class ParsedImage(NamedTuple):
    """People (P, h, w), and detections as (score, map (h, w)); labels in both."""

    people: np.ndarray
    found: list[tuple[float, np.ndarray]]


def iou(one: np.ndarray, other: np.ndarray, label: int) -> float | None:
    """IoU of a label; None where neither map has it."""
    union = ((one == label) | (other == label)).sum()
    return None if union == 0 else ((one == label) & (other == label)).sum() / union


def resemblance(one: np.ndarray, other: np.ndarray) -> float:
    """Mean IoU over labels that one of the maps has."""
    ious = [iou(one, other, label) for label in range(LABELS)]
    return float(np.mean([value for value in ious if value is not None]))


def mean_iou(images: list[ParsedImage], least: float = 0.3) -> float:
    """Over the labels of all images put side by side."""
    painted, annotated = [], []
    for people, found in images:
        canvas = np.zeros(people.shape[1:], int)
        for score, labels in sorted(found, key=lambda pair: pair[0]):
            if score >= least:
                canvas[labels > 0] = labels[labels > 0]
        painted.append(canvas.ravel())
        annotated.append(whole(people).ravel())
    return resemblance(np.concatenate(painted), np.concatenate(annotated))


def whole(people: np.ndarray) -> np.ndarray:
    """One map of people who do not overlap."""
    canvas = np.zeros(people.shape[1:], np.uint8)
    for labels in people:
        canvas[labels > 0] = labels[labels > 0]
    return canvas


def judged(images: list[ParsedImage], threshold: float) -> list[tuple[bool, int, int, int]]:
    """(right, image, detection, person) for each detection, the best-scored first."""
    everything = [
        (score, number, place)
        for number, image in enumerate(images)
        for place, (score, _) in enumerate(image.found)
    ]
    taken, rows = set(), []
    for _, number, place in sorted(everything, key=lambda row: -row[0]):
        people, found = images[number]
        likeness = [resemblance(found[place][1], person) for person in people]
        best = max(range(len(people)), key=lambda p: likeness[p], default=-1)
        right = best >= 0 and likeness[best] > threshold and (number, best) not in taken
        if right:
            taken.add((number, best))
        rows.append((right, number, place, best))
    return rows


def average_precision(images: list[ParsedImage], threshold: float) -> float:
    """For each person found: the highest precision from there on; the others have 0."""
    right = [row[0] for row in judged(images, threshold)]
    precisions = [sum(right[: n + 1]) / (n + 1) for n in range(len(right))]
    highest = [max(precisions[n:]) for n in range(len(right)) if right[n]]
    return sum(highest) / sum(len(image.people) for image in images)


def correct_parts(images: list[ParsedImage]) -> float:
    """Mean over people with parts of the share of these that are right."""
    shares = {}
    for right, number, place, best in judged(images, 0.5):
        person = images[number].people[best] if right else None
        if person is not None and person.any():
            labels = images[number].found[place][1]
            parts = [label for label in range(1, LABELS) if (person == label).any()]
            shares[number, best] = np.mean(
                [iou(labels, person, label) > 0.5 for label in parts]
            )
    with_parts = sum(person.any() for image in images for person in image.people)
    return float(sum(shares.values()) / with_parts)
