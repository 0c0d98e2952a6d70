"""Looks at the files of a data set with landmarks before a training begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saip.datasets.coco import coco_boxes, load_json, read_box
from saip.datasets.crops import DataError
from saip.errors import MissingFileError

PictureId = int | str
PERSON = 1
"""The category whose detections mmpose takes."""


@dataclass(frozen=True)
class Layout:
    """What the files of a data set look like.

    Attributes:
        text: one sentence, for messages.
        landmarks: fields of an annotation, and of how many points each holds x, y, visibility.
        also: further fields that an annotation needs.
    """

    text: str
    landmarks: Mapping[str, int]
    also: tuple[str, ...] = ()


FIELDS = ('id', 'category_id', 'area', 'iscrowd', 'num_keypoints')


def check_annotations(path: Path, layout: Layout) -> frozenset[PictureId]:
    """Check an annotation file in COCO's format.

    Returns:
        The ids of its images.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not JSON, has another layout, or an annotation lacks something.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {layout.text}')
    try:
        document = load_json(path)
        for found in coco_boxes(document, str(path), lambda row: True):
            if found.size is None:
                raise DataError(f'{path}: image {found.file_name} has no width and height')
            _check_annotation(found.annotation, path, layout)
    except DataError as error:
        raise DataError(f'{error}. {layout.text}') from error
    assert isinstance(document, dict)  # coco_boxes has seen to it
    return frozenset(image['id'] for image in document['images'])


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
    missing = [name for name in (*FIELDS, *layout.also) if name not in row]
    if missing:
        raise DataError(f'{where} has no {", ".join(missing)}')


def check_detections(
    path: Path, images: frozenset[PictureId], annotations: str, layout: Layout
) -> None:
    """Check a file with the boxes that a detector found.

    Args:
        path: of the file.
        images: ids of the images that may be named.
        annotations: where these ids come from, for messages.
        layout: of the data set.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no list of detections, or none in it is a person.
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
    people = 0
    for number, row in enumerate(rows):
        where = f'{path}: detection {number}'
        if 'category_id' not in row:
            raise DataError(f'{where} has no category_id; {PERSON} is a person')
        if row['category_id'] != PERSON:
            continue
        people += 1
        image = row.get('image_id')
        if not isinstance(image, int | str) or image not in images:
            raise DataError(f'{where} is in image {image!r:.40}, unknown to {annotations}')
        read_box(row, 'bbox', where)
        if not isinstance(row.get('score'), int | float):
            raise DataError(f'{where} has no score')
    if not people:
        raise DataError(f'{path}: holds no detection of a person (category_id {PERSON})')
