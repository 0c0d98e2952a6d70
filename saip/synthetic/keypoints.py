"""COCO keypoints of the persons of a Market-1501 set, known from how they are drawn."""

from __future__ import annotations

import os

import numpy as np

from saip.datasets.crops import Crop
from saip.datasets.keypoints import write_keypoints

from .draw import Body
from .market import TRAIN, MarketImage, MarketSpec, list_images
from .person import sample_person
from .rendered_crop import canvas_size, plan_crop
from .scene.face import EAR_ANGLE, EAR_T, EYE_ANGLE, EYE_T, NOSE_REACH, NOSE_T, jut, skull

_LIMBS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')
_TURNED = -0.1
"""Cosine of an angle to the camera below which a point of the head is on its far side."""


def image_keypoints(spec: MarketSpec, image: MarketImage) -> np.ndarray:
    """(17, 3) x, y and score of the person whom an image is about; pixel centers are whole numbers.

    The score is 0 for what lies outside of the image or on the far side of the head, else 1: what
    hides the body is not looked at.
    """
    shot = plan_crop(spec.seed, *image.key)
    person = sample_person(spec.seed, image.key[0])  # passers-by may stand on both sides
    figure = next(figure for figure in shot.figures if figure.person == person)
    size = np.array([spec.height, spec.width])
    canvas = canvas_size((spec.height, spec.width))
    body = Body(figure, canvas)
    head = skull(body)
    turns = [(NOSE_T, 0.0, NOSE_REACH)]
    turns += [
        (t, side * a, 1.0)
        for t, a in ((EYE_T, EYE_ANGLE), (EAR_T, EAR_ANGLE))
        for side in (1, -1)
    ]
    points = [jut(head, *turn) for turn in turns]
    faces = [bool(np.cos(angle + body.yaw) >= _TURNED) for _, angle, _ in turns]
    points += [body.points[f'{name}_{side}'] for name in _LIMBS for side in ('l', 'r')]
    shown = np.array([*faces, *[True] * (len(points) - len(faces))])
    # The canvas is drawn larger, and reduced by areas.
    places = (np.array(points) + 0.5) * (size / canvas)[::-1] - 0.5
    inside = ((places > -0.5) & (places < size[::-1] - 0.5)).all(axis=1)
    return np.concatenate([places, (shown & inside)[:, None]], axis=1)


def write_market_keypoints(path: str | os.PathLike[str], spec: MarketSpec) -> int:
    """Write the keypoints of the training images of a set, whose root is their folder.

    Args:
        path: of the file.
        spec: of the set, which need not be drawn.

    Returns:
        The number of images.
    """
    images = [image for image in list_images(spec) if image.path.startswith(f'{TRAIN}/')]
    crops = [Crop(image.path.removeprefix(f'{TRAIN}/')) for image in images]
    write_keypoints(path, crops, np.stack([image_keypoints(spec, image) for image in images]))
    return len(images)
