"""Looks at the files of a data set with landmarks before a training begins."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from saip.datasets.coco import (
    check_category,
    coco_boxes,
    coco_categories,
    coco_images,
    load_json,
    read_box,
)
from saip.datasets.consistency import BoxesInImages, Identities, LandmarksInBoxes, is_id
from saip.datasets.crops import DataError
from saip.errors import MissingFileError

Id = int | str
PERSON = 1
"""The category of people where a file does not say which it is."""


@dataclass(frozen=True)
class Layout:
    """What the files of a data set look like.

    Attributes:
        text: one sentence, for messages.
        landmarks: fields of an annotation, and of how many points each holds x, y, visibility.
        also: further fields that an annotation needs.
        species: whether the categories are species, which are all taken and told apart, and not
            people among other things.
        metric_category: the one category that the metric knows; None if it takes those of
            the file.
        key_frames: whether only some frames of a video are annotated, which ``iskeyframe`` tells,
            and no number of landmarks is stated.
    """

    text: str
    landmarks: Mapping[str, int]
    also: tuple[str, ...] = ()
    species: bool = False
    metric_category: int | None = None
    key_frames: bool = False


@dataclass(frozen=True)
class Contents:
    """What an annotation file holds.

    Attributes:
        sizes: (width, height) of the images by their ids.
        categories: names by ids.
        shown: categories of those that count in a test.
    """

    sizes: Mapping[Id, tuple[int, int]]
    categories: Mapping[Id, str]
    shown: frozenset[Id]

    def taken(self, layout: Layout) -> frozenset[Id]:
        """Return the categories that detections must have to be taken."""
        if layout.species or len(self.categories) == 1:
            return frozenset(self.categories)
        people = [i for i, name in self.categories.items() if name.lower() == 'person']
        return frozenset(people or [PERSON])


FIELDS = ('id', 'category_id', 'area', 'iscrowd', 'num_keypoints')


def check_annotations(path: Path, layout: Layout, tested: bool = False) -> Contents:
    """Check an annotation file in COCO's format.

    Args:
        path: of the file.
        layout: of the data set.
        tested: whether a metric compares with it, for which categories matter.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not JSON, has another layout, an annotation lacks something or
            contradicts itself, two entries have one id, or most boxes leave their images.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {layout.text}')
    try:
        return _read_contents(load_json(path), path, layout, tested)
    except DataError as error:
        raise DataError(f'{error}. {layout.text}') from error


def _read_contents(document: object, path: Path, layout: Layout, tested: bool) -> Contents:
    where = str(path)
    sizes: dict[Id, tuple[int, int]] = {}
    for identity, (name, size) in coco_images(document, where).items():
        if isinstance(identity, str):  # mmpose computes with them
            raise DataError(f'{where}: image {name} has the id {identity!r:.40}, not a number')
        if size is None:
            raise DataError(f'{where}: image {name} has no width and height')
        sizes[identity] = size
    assert isinstance(document, dict)  # coco_images has seen to it
    categories = coco_categories(document, where) if 'categories' in document else {}
    shown = set()
    identities = Identities(where)
    landmarks = LandmarksInBoxes(where)
    for number, found in enumerate(coco_boxes(document, where, lambda row: True)):
        row = found.annotation
        if layout.key_frames:
            _check_key_frame(row, where)
            if is_interpolated(row):
                continue
            row = _counted(row)
        _check_annotation(row, path, layout)
        identities.add(row['id'], f'annotations[{number}] (image {row["image_id"]})')
        place = f'{where}: annotation {row["id"]!r:.40}'
        if isinstance(row['id'], int) and row['id'] < 0:
            raise DataError(
                f'{place} has a negative id, which the evaluation takes for no match; ids are '
                'numbers from 0 on'
            )
        category = check_category(row['category_id'], categories, place)
        if row['num_keypoints'] and not row['iscrowd']:
            if min(found.bbox[2:]) <= 0:
                raise DataError(f'{place} has landmarks, but an empty bbox {row["bbox"]}')
            landmarks.add(row['keypoints'], found.bbox, f'annotation {row["id"]!r:.40}')
            shown.add(category)
            if tested and categories:
                _check_tested(category, categories, layout, place)
    landmarks.judge()
    if tested and not categories:  # without any the metric compares nothing
        raise DataError(f'{where}: has no categories')
    return Contents(sizes, categories, frozenset(shown))


def is_interpolated(row: dict) -> bool:
    """Whether there are no annotated landmarks: between key frames, or of a hidden animal."""
    return not row['iskeyframe'] or row['keypoints'] == []


def _check_key_frame(row: dict, where: str) -> None:
    place = f'{where}: annotation {row.get("id")!r:.40}'
    if row.get('iskeyframe') not in (0, 1):
        raise DataError(
            f'{place} has iskeyframe {row.get("iskeyframe")!r:.40}: 1 where its frame was '
            'annotated, 0 where it was interpolated'
        )
    if 'keypoints' not in row:
        raise DataError(f'{place} has no keypoints, an empty list where it is interpolated')


def _counted(row: dict) -> dict:
    """The annotation with its number of landmarks; one with other values in them as it is."""
    points = row['keypoints']
    if 'num_keypoints' in row or not isinstance(points, list) or not _are_numbers(points):
        return row
    return {**row, 'num_keypoints': sum(flag > 0 for flag in points[2::3])}


def _check_tested(category: Id, known: Mapping[Id, str], layout: Layout, place: str) -> None:
    """Refuse a category that the metric would leave out without a word."""
    if category not in known:
        raise DataError(f'{place} has category_id {category!r:.40}, which no category has')
    if layout.metric_category not in (None, category):
        raise DataError(
            f'{place} has category_id {category!r:.40} ({known[category]}), but the metric knows '
            f'{layout.metric_category} alone: give the category this id in the file'
        )


def _check_annotation(row: dict, path: Path, layout: Layout) -> None:
    where = f'{path}: annotation {row.get("id")!r:.40}'
    for name, count in layout.landmarks.items():
        values = row.get(name)
        if not isinstance(values, list):
            raise DataError(
                f'{where} has no {name}, a list of {count} points (x, y, visibility)'
            )
        if len(values) != 3 * count:
            raise DataError(
                f'{where}: {name} has {len(values)} values, but {count} points (x, y, '
                f'visibility) are {3 * count}'
            )
        if not _are_numbers(values):
            raise DataError(f'{where}: {name} holds something else than finite numbers')
    missing = [name for name in (*FIELDS, *layout.also) if name not in row]
    if missing:
        raise DataError(f'{where} has no {", ".join(missing)}')
    _check_consistency(row, where, layout)


def _are_numbers(values: list) -> bool:
    try:
        return math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


def _check_consistency(row: dict, where: str, layout: Layout) -> None:
    """Check that number of landmarks, visibility and area do not contradict each other."""
    count, area, crowd = row['num_keypoints'], row['area'], row['iscrowd']
    if count is None or crowd is None:
        raise DataError(f'{where} has num_keypoints {count} and iscrowd {crowd}')
    if not _are_numbers([area]):
        raise DataError(f'{where} has the area {area!r:.40}, not a number')
    if crowd:
        return
    # That is how many of the body; mmpose leaves out who has none, whatever is visible.
    visible = sum(flag > 0 for flag in row['keypoints'][2::3])
    if (count == 0) != (visible == 0) or count > sum(layout.landmarks.values()):
        raise DataError(
            f'{where} has num_keypoints {count}, but {visible} of its keypoints have a '
            'visibility above 0'
        )
    _, _, width, height = row['bbox']
    if count and min(width, height) > 0:
        # Of a mask's area; its box may be rounded.
        largest = 1.1 * (width + 2) * (height + 2)
        if not 0 < area <= largest:
            raise DataError(
                f'{where} has the area {area:g} in a box of {width:g}x{height:g} pixels; '
                'landmarks are compared in units of its root'
            )


def check_detections(
    path: Path, contents: Contents, annotations: str, layout: Layout, corners: bool = False
) -> frozenset[Id]:
    """Check a file with the boxes that a detector found.

    Args:
        path: of the file.
        contents: of the annotations, whose images and categories are named.
        annotations: their path, for messages.
        layout: of the data set.
        corners: whether a bbox is x0, y0, x1, y1 and not x, y, width, height.

    Returns:
        The categories of the detections that are taken.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no list of detections, none in it is a person or animal of the
            annotations' categories, or most boxes reach beyond their images.
    """
    if not path.is_file():
        raise MissingFileError(
            f'{path}: no such file. It holds the boxes of a person detector; with bbox_file=None '
            f'of the data set the annotated boxes are taken instead. {layout.text}'
        )
    rows = load_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f'{path}: not a list of detections, each with image_id, category_id, bbox and score'
        )
    taken = contents.taken(layout)
    found = set()
    inside = BoxesInImages(str(path))
    for number, row in enumerate(rows):
        where = f'{path}: detection {number}'
        if 'category_id' not in row:
            raise DataError(f'{where} has no category_id; {_named(taken, contents)}')
        category = check_category(row['category_id'], contents.categories, where)
        if category not in taken:
            if layout.species:
                raise DataError(f'{where} has category_id {category}, unknown to {annotations}')
            continue
        found.add(category)
        image, box = _read_detection(row, where, contents, annotations, corners)
        inside.add(box, contents.sizes[image], f'detection {number}')
    if not found:
        raise DataError(
            f'{path}: holds no detection of a person ({_named(taken, contents)} in {annotations})'
        )
    _check_species(found, contents, path, annotations, layout)
    inside.judge('' if corners else ', or set bbox_corners=True of the data set')
    return taken


def _read_detection(
    row: dict, where: str, contents: Contents, annotations: str, corners: bool
) -> tuple[Id, tuple[float, float, float, float]]:
    """Return image and box (x, y, width, height) of a detection."""
    image = row.get('image_id')
    if not is_id(image) or image not in contents.sizes:
        raise DataError(f'{where} is in image {image!r:.40}, unknown to {annotations}')
    x, y, width, height = read_box(row, 'bbox', where)
    score = row.get('score')
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise DataError(f'{where} has no score')
    if corners:
        width, height = width - x, height - y
    if min(width, height) < 0:
        raise DataError(f'{where}: bbox {row["bbox"]} has a negative size')
    return image, (x, y, width, height)


def _named(taken: frozenset[Id], contents: Contents) -> str:
    names = (f'category_id {i} is {contents.categories.get(i, "person")}' for i in taken)
    return ', '.join(sorted(names)[:4])


def _check_species(
    found: set[Id], contents: Contents, path: Path, annotations: str, layout: Layout
) -> None:
    """Refuse one category for all where several are annotated: the metric compares each alone.

    Of several species one that no detection shows counts as missed, which is told.
    """
    if layout.species and 1 < len(found & contents.shown) < len(contents.shown):
        absent = sorted(str(contents.categories.get(i, i)) for i in contents.shown - found)
        print_log(
            f'{path}: has no detection of {len(absent)} of the {len(contents.shown)} categories of '
            f'{annotations} ({", ".join(absent[:8])}), each of which counts as missed',
            logger='current',
            level=logging.WARNING,
        )
    if len(found) > 1 or len(contents.shown) <= 1:
        return
    (only,) = found
    name = contents.categories.get(only)
    shown = ', '.join(sorted(str(contents.categories.get(i, i)) for i in contents.shown)[:8])
    if layout.species:
        raise DataError(
            f'{path}: all detections have category_id {only} ({name}), but {annotations} shows '
            f'{len(contents.shown)} categories ({shown}), each of which is compared alone: give '
            'each box the category of its animal'
        )
    raise DataError(
        f'{annotations} shows {len(contents.shown)} categories ({shown}), each of which is '
        f'compared alone, but of {path} the boxes of category_id {only} ({name}) alone are taken: '
        'leave the others out of the annotations, or test with annotated boxes (bbox_file=None)'
    )
