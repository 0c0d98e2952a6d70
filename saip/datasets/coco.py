"""Boxes in COCO's JSON format, checked as they are read: every fault is a DataError."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .crops import Crop, DataError, clip_box


class CocoBox(NamedTuple):
    """One annotation of a COCO file with the image that it belongs to.

    Attributes:
        file_name: of the image.
        size: (width, height) of the image as the file states it; None if it does not.
        bbox: x, y, width, height in pixels.
        annotation: everything else that is said about it.
    """

    file_name: str
    size: tuple[int, int] | None
    bbox: tuple[float, float, float, float]
    annotation: dict


def _table(document: object, name: str, where: str) -> list[dict]:
    rows = document.get(name) if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f'{where}: not a COCO file, it has no list of {name}')
    return rows


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_box(row: dict, name: str, where: str) -> tuple[float, float, float, float]:
    """Return four finite numbers from an annotation.

    Raises:
        DataError: there are none.
    """
    box = row.get(name)
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise DataError(f'{where}: {name} is not four numbers but {box!r:.60}')
    try:
        x, y, width, height = map(float, box)
    except OverflowError:
        raise DataError(f'{where}: {name} is not finite') from None
    if not all(map(math.isfinite, (x, y, width, height))):
        raise DataError(f'{where}: {name} is not finite: {box!r:.60}')
    return x, y, width, height


def load_json(path: str | os.PathLike[str]) -> object:
    """Read a JSON file.

    Raises:
        DataError: it is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path}: not JSON ({error})') from error


def coco_boxes(document: object, where: str, keep: Callable[[dict], bool]) -> Iterator[CocoBox]:
    """Go through the annotations of a COCO document that ``keep`` accepts.

    Raises:
        DataError: something that is needed is missing or of the wrong type.
    """
    images: dict[int | str, tuple[str, tuple[int, int] | None]] = {}
    for row in _table(document, 'images', where):
        name, identity = row.get('file_name'), row.get('id')
        if not isinstance(name, str) or not name or not isinstance(identity, (int, str)):
            raise DataError(f'{where}: an image without id or file_name: {row!r:.80}')
        width, height = row.get('width'), row.get('height')
        size = None
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            size = (width, height)
        images[identity] = (name, size)
    for row in _table(document, 'annotations', where):
        if not keep(row):
            continue
        identity = row.get('image_id')
        if not isinstance(identity, (int, str)) or identity not in images:
            raise DataError(f'{where}: an annotation of an unknown image {identity!r:.40}')
        bbox = read_box(row, 'bbox', f'{where}: annotation {row.get("id")!r:.40}')
        yield CocoBox(*images[identity], bbox, row)


def person_ids(document: object, where: str) -> frozenset[int | str]:
    """Return the ids of the category ``person``.

    Raises:
        DataError: there is no such category; the message names those there are.
    """
    rows = _table(document, 'categories', where)
    named = [(row.get('id'), str(row.get('name'))) for row in rows]
    found = [i for i, name in named if name.lower() == 'person' and isinstance(i, (int, str))]
    if not found:
        names = ', '.join(name for _, name in named[:8]) or 'none'
        raise DataError(f'{where}: no category person (categories: {names})')
    return frozenset(found)


def coco_persons(
    document: object, where: str, keep: Callable[[dict], bool] = lambda row: True
) -> list[Crop]:
    """Return the boxes of single persons (category person, no crowds), clipped.

    Raises:
        DataError: the document is malformed.
    """
    persons = person_ids(document, where)

    def wanted(row: dict) -> bool:
        category = row.get('category_id')
        known = isinstance(category, (int, str)) and category in persons
        return known and not row.get('iscrowd') and keep(row)

    crops = []
    for found in coco_boxes(document, where, wanted):
        box = clip_box(*found.bbox, found.size)
        if box is not None:
            crops.append(Crop(found.file_name, box))
    return crops


def read_coco_persons(path: str | os.PathLike[str]) -> list[Crop]:
    """Read person boxes from a COCO file, sorted.

    Raises:
        DataError: the file is malformed or holds no person.
    """
    crops = sorted(coco_persons(load_json(path), str(path)))
    if not crops:
        raise DataError(f'{path} holds no box of a person')
    return crops
