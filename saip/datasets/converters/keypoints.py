"""Keypoint files from annotations: COCO's format with 17 or 14 joints, and AIC's own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from saip.errors import MissingFileError

from ..coco import check_category, coco_boxes, coco_categories, load_json, person_ids, read_box
from ..crops import Box, Crop, DataError, clip_box
from ..keypoint_places import check_places, check_units
from ..keypoints import MAX_PIXELS, SHAPE, write_keypoints

AIC_IN_COCO = (6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15)
"""COCO's joints of AIC's first twelve: shoulder, elbow, wrist, hip, knee and ankle, right first.

AIC's last two, crown and neck, are none of COCO's; its persons have no joint of the face.
"""

VISIBILITY_SCORE = np.array([0.0, 0.5, 1.0])
"""Scores of COCO's visibilities: not labeled, hidden, seen."""

AIC_VISIBILITY = np.array([0, 2, 1, 0])
"""COCO's visibilities of AIC's: 1 seen, 2 hidden, 3 outside of the image."""

SizeOf = Callable[[str], tuple[int, int] | None]
"""(width, height) of an image by its path; None if it cannot be read."""


class Labeled(NamedTuple):
    """A sample with its joints.

    Attributes:
        crop: the image and the person's box, which it always has.
        joints: (17, 3) x, y in pixels of the image and score.
    """

    crop: Crop
    joints: np.ndarray


class Converted(NamedTuple):
    """What a conversion wrote.

    Attributes:
        written: samples with keypoints.
        left_out: samples without any labeled joint, or whose box occurred before.
    """

    written: int
    left_out: int


def from_annotations(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    prefix: str = '',
    size_of: SizeOf | None = None,
) -> Converted:
    """Write the keypoints of the persons of an annotation file, one sample per box.

    The keys are those of the samples that :class:`saip.PersonImages` makes of the same file, or of
    a manifest of its boxes. Crowds are left out.

    Args:
        source: COCO's format with 17 joints, or AIC's 14, per person; or AIC's own list of images.
        out: file to write.
        prefix: folder to put in front of the paths, where a manifest has other ones.
        size_of: sizes of the images, to which boxes are clipped, where the file states none. A
            warning says if that is needed, and there is nothing to ask.

    Raises:
        DataError: the file is malformed, has no joint, most joints are not in pixels of their
            boxes, or most sizes that it does not state cannot be found.
        FileNotFoundError: it is not there.
    """
    if not os.path.isfile(source):
        kind = 'a folder and no' if os.path.isdir(source) else 'no such'
        raise MissingFileError(f'{source}: {kind} annotation file (JSON)')
    document = load_json(source)
    sizes = _Sizes(size_of)
    read = _read_aic if isinstance(document, list) else _read_coco
    found: dict[Crop, np.ndarray] = {}
    total = 0
    for crop, joints in read(document, str(source), prefix, sizes):
        total += 1
        if (joints[:, 2] > 0).any():
            found.setdefault(crop, joints)
    sizes.judge(str(source))
    if not found:
        raise DataError(f'{source}: none of its {total} persons has a labeled joint')
    crops, joints = list(found), np.stack(list(found.values()))
    check_units(joints, str(source), lambda i: crops[i].path)
    boxes = [crop.box for crop in crops if crop.box is not None]
    check_places(joints, boxes, str(source), lambda i: crops[i].path)
    relative = np.stack([_in_box(crop, joints) for crop, joints in found.items()])
    far = np.flatnonzero((np.abs(relative) > MAX_PIXELS).any(axis=(1, 2)))
    if len(far):
        raise DataError(
            f'{source}: {crops[far[0]].path}: a joint more than {MAX_PIXELS:g} pixels from its box'
        )
    write_keypoints(out, crops, relative)
    return Converted(len(found), total - len(found))


class _Sizes:
    """Sizes of images that an annotation file does not state; each is asked for once.

    Args:
        ask: returns the size of an image; None if there is nothing to ask.
    """

    def __init__(self, ask: SizeOf | None) -> None:
        self.ask = ask
        self.known: dict[str, tuple[int, int] | None] = {}

    def __call__(self, path: str) -> tuple[int, int] | None:
        """(width, height) of an image; None if it cannot be known."""
        if path not in self.known:
            self.known[path] = self.ask(path) if self.ask else None
        return self.known[path]

    def judge(self, where: str) -> None:
        """Warn of sizes that are not known, since boxes beyond their image have keys of their own.

        Raises:
            DataError: most of those that were asked for are not.
        """
        unknown = [path for path, size in self.known.items() if size is None]
        if not unknown:
            return
        text = f'{len(unknown):,} of {len(self.known):,} images'
        if self.ask is None:
            text = (
                f'{where}: does not state the sizes of {len(unknown):,} images, so boxes that '
                'reach beyond them are not clipped, and no sample of a manifest has their keys: '
                '--images names the folder of the images'
            )
        elif 2 * len(unknown) > len(self.known):
            raise DataError(
                f'--images: {text} whose sizes {where} does not state cannot be read there, the '
                f'first {unknown[0]}; it is the folder that this path and --prefix begin in'
            )
        else:
            text = f'--images: {text} cannot be read, the first {unknown[0]}; boxes are not clipped'
        print_log(text, 'current', logging.WARNING)


def _in_box(crop: Crop, joints: np.ndarray) -> np.ndarray:
    """Joints in pixels of the box; those that are not labeled at its corner."""
    x0, y0 = (0, 0) if crop.box is None else crop.box[:2]
    seen = joints[:, 2:] > 0
    return np.where(seen, joints - (x0, y0, 0), 0.0)


def _read_coco(document: object, where: str, prefix: str, sizes: _Sizes) -> Iterator[Labeled]:
    persons = person_ids(coco_categories(document, where), where)

    def wanted(row: dict) -> bool:
        place = f'{where}: annotation {row.get("id")!r:.40}'
        category = check_category(row.get('category_id'), persons, place)
        return category in persons and not row.get('iscrowd')

    for found in coco_boxes(document, where, wanted):
        place = f'{where}: annotation {found.annotation.get("id")!r:.40}'
        path = _join(prefix, found.file_name)
        box = clip_box(*found.bbox, found.size or sizes(path))
        if box is not None:
            joints = _to_coco(found.annotation.get('keypoints'), place)
            joints[:, 2] = VISIBILITY_SCORE[joints[:, 2].astype(int)]
            yield Labeled(Crop(path, box), joints)


def _read_aic(document: object, where: str, prefix: str, sizes: _Sizes) -> Iterator[Labeled]:
    assert isinstance(document, list)
    for row in document:
        name, humans, points = (
            row.get(key) if isinstance(row, dict) else None
            for key in ('image_id', 'human_annotations', 'keypoint_annotations')
        )
        if (
            not isinstance(name, str)
            or not isinstance(humans, dict)
            or not isinstance(points, dict)
        ):
            raise DataError(
                f'{where}: an image without image_id, human_annotations or keypoint_annotations'
            )
        path = _join(prefix, f'{name}.jpg')
        for human in humans:
            place = f'{where}: {name}, {human}'
            joints = _to_coco(points.get(human), place, highest=3)
            joints[:, 2] = VISIBILITY_SCORE[AIC_VISIBILITY[joints[:, 2].astype(int)]]
            box = _corner_box(humans, human, place, sizes(path))
            if box is not None:
                yield Labeled(Crop(path, box), joints)


def _corner_box(
    humans: dict, human: str, place: str, size: tuple[int, int] | None
) -> Box | None:
    x0, y0, x1, y1 = read_box(humans, human, place)
    return clip_box(x0, y0, x1 - x0, y1 - y0, size)


def _to_coco(values: object, place: str, highest: int = 2) -> np.ndarray:
    """(17, 3) x, y and visibility from a flat list of 17 or 14 joints.

    Raises:
        DataError: there are not as many finite numbers, or a visibility is none.
    """
    if not isinstance(values, list) or len(values) not in (51, 42):
        count = len(values) if isinstance(values, list) else 'no list of'
        raise DataError(
            f'{place}: keypoints are {count} numbers; 51 (COCO, 17 joints with x, y and '
            'visibility) or 42 (AIC, 14 joints) are needed'
        )
    for number, value in enumerate(values):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise DataError(f'{place}: keypoints[{number}] is {value!r:.40}, no number')
        if not abs(value) <= sys.float_info.max:
            raise DataError(f'{place}: keypoints[{number}] is not finite: {value!r:.40}')
    joints = np.array(values, np.float64).reshape(-1, 3)
    if not np.isin(joints[:, 2], range(highest + 1)).all():
        raise DataError(f'{place}: visibilities are whole numbers from 0 to {highest}')
    if len(joints) == SHAPE[0]:
        return joints
    found = np.zeros(SHAPE)
    found[list(AIC_IN_COCO)] = joints[: len(AIC_IN_COCO)]
    return found


def _join(prefix: str, path: str) -> str:
    return f'{prefix.rstrip("/")}/{path}' if prefix else path
