"""Whether keypoints lie where their samples are, in pixels of them.

Shares of an image in the place of pixels, and joints of other images or boxes, make masks that look
like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.logging import print_log

from .canvas import ImageError, open_image, upright_size
from .crops import Box, Crop, DataError
from .sources import Storage

SPREAD = 1.5
"""Pixels within which all joints of a person lie if they are shares of the image."""

MARGIN, MARGIN_SHARE = 2, 0.02
"""Pixels, and share of a sample's size, that a joint may lie outside of it."""

NameOf = Callable[[int], str]


def check_units(joints: np.ndarray, where: str, name: NameOf) -> None:
    """Refuse joints in shares of the image.

    Args:
        joints: (N, 17, 3) x, y and score; a score of 0 is that of a joint that is not labeled.
        where: the file, for messages.
        name: names a sample by its number, for messages.

    Raises:
        DataError: of most samples with two labeled joints all of these are within ``SPREAD``.
    """
    labeled = joints[..., 2] > 0
    several = labeled.sum(axis=1) > 1
    places = joints[..., :2]
    low = np.where(labeled[..., None], places, np.inf).min(axis=1)
    high = np.where(labeled[..., None], places, -np.inf).max(axis=1)
    near = several & (high - low <= SPREAD).all(axis=1)
    if 2 * near.sum() > several.sum():
        first = int(near.argmax())
        (x0, y0), (x1, y1) = low[first], high[first]
        raise DataError(
            f'{where}: of {near.sum():,} of {several.sum():,} samples all labeled joints lie '
            f'within {SPREAD:g} pixels, the first {name(first)}: x {x0:.4g} to {x1:.4g}, '
            f'y {y0:.4g} to {y1:.4g}. Keypoints are in pixels and not in shares of the image'
        )


def check_not_before(joints: np.ndarray, where: str, name: NameOf) -> None:
    """Refuse joints before the first pixel, which is all that can be seen without sizes.

    Args:
        joints: as in :func:`check_units`, in pixels of the samples.
        where: the file, for messages.
        name: names a sample by its number, for messages.

    Raises:
        DataError: most labeled joints lie so.
    """
    labeled = joints[..., 2] > 0
    outside = labeled & (joints[..., :2] < -MARGIN).any(axis=2)
    if 2 * outside.sum() > labeled.sum():
        raise DataError(
            f'{where}: {outside.sum():,} of {labeled.sum():,} labeled joints have negative '
            f'coordinates, the first {_first(joints, outside, name)}. Keypoints are in pixels of '
            'the image, or of the box where the sample is one'
        )


def check_places(
    joints: np.ndarray, boxes: Sequence[Box], where: str, name: NameOf, warn: bool = True
) -> None:
    """Compare joints with the boxes of their samples.

    Args:
        joints: as in :func:`check_units`, in pixels of the images.
        boxes: N boxes in them.
        where: the file, for messages.
        name: names a sample by its number, for messages.
        warn: whether single samples are counted in a warning none of whose joints lies near. A box
            is taken twice as large in every direction for that.

    Raises:
        DataError: most labeled joints lie outside.
    """
    labeled = joints[..., 2] > 0
    low, high = np.split(np.array(boxes, np.float64).reshape(-1, 1, 4), 2, axis=2)
    beyond = np.maximum(low - joints[..., :2], joints[..., :2] - high)
    outside = labeled & (beyond > MARGIN + MARGIN_SHARE * (high - low)).any(axis=2)
    far = labeled & (beyond > high - low).any(axis=2)
    lost = labeled.any(axis=1) & (far == labeled).all(axis=1)

    def first(which: np.ndarray) -> str:
        sample = int(which.any(axis=1).argmax())
        box = ', '.join(map(str, boxes[sample]))
        return f'{_first(joints, which, name)} in {box} (x0, y0, x1, y1)'

    if 2 * outside.sum() > labeled.sum():
        raise DataError(
            f'{where}: {outside.sum():,} of {labeled.sum():,} labeled joints lie outside of their '
            f'image or box, the first {first(outside)}. Keypoints are in pixels of the same image'
        )
    if warn and lost.any():
        text = (
            f'{where}: of {lost.sum():,} of {len(joints):,} samples no labeled joint lies near the '
            f'image or box, the first {first(far & lost[:, None])}'
        )
        print_log(text, 'current', logging.WARNING)


def _first(joints: np.ndarray, which: np.ndarray, name: NameOf) -> str:
    """The first of some joints, in words."""
    sample, joint = np.unravel_index(int(which.argmax()), which.shape)
    x, y, _ = joints[sample, joint]
    return f'{name(int(sample))}: {x:g}, {y:g}'


def known_boxes(storage: Storage, crops: Sequence[Crop], most: int) -> dict[int, Box]:
    """Boxes of some samples, evenly spread, in pixels of themselves.

    Of whole images the header is read; those that cannot be read are left out.

    Args:
        storage: of the images.
        crops: the samples.
        most: so many are looked at.

    Returns:
        ``(0, 0, width, height)`` by the number of the sample.
    """
    found: dict[int, Box] = {}
    count = min(most, len(crops))
    for number in (i * len(crops) // count for i in range(count)):
        crop = crops[number]
        if crop.box is not None:
            x0, y0, x1, y1 = crop.box
            found[number] = (0, 0, x1 - x0, y1 - y0)
            continue
        try:
            height, width = upright_size(open_image(storage.read(crop.path)))
        except (ImageError, OSError):
            continue  # a bad image is named when it is its turn
        found[number] = (0, 0, width, height)
    return found
