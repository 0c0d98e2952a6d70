"""Boxes in COCO's JSON format, checked as they are read: every fault is a DataError."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeGuard

from .consistency import BoxesInImages, Identities, is_id, kind
from .crops import Crop, DataError, clip_box

_SURROGATE = re.compile(rb'\\u[dD][89a-fA-F]')
"""What may stand for half a character, in JSON."""


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


def _is_number(value: object) -> TypeGuard[int | float]:
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
    return parse_json(Path(path).read_bytes(), str(path))


def parse_json(content: str | bytes, where: str) -> object:
    """Read a JSON document.

    Raises:
        DataError: it is none, or a text in it has no form in UTF-8, so that it can name no file.
    """
    try:
        document = json.loads(content)
        if _SURROGATE.search(content if isinstance(content, bytes) else content.encode()):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f'{error.object[error.start]!a}'
        raise DataError(f'{where}: a text with {half}, half a character') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{where}: not JSON ({error})') from error
    return document


def coco_images(
    document: object, where: str
) -> dict[int | str, tuple[str, tuple[int, int] | None]]:
    """Return file name and (width, height), None where none is stated, of every image by its id.

    Raises:
        DataError: an image has no id or name, two have one id, ids are of different types, or
            a size is not two positive whole numbers.
    """
    images: dict[int | str, tuple[str, tuple[int, int] | None]] = {}
    identities = Identities(where)
    for number, row in enumerate(_table(document, 'images', where)):
        name, identity = row.get('file_name'), row.get('id')
        if not isinstance(name, str) or not name or not is_id(identity):
            raise DataError(f'{where}: an image without id or file_name: {row!r:.80}')
        identities.add(identity, f'images[{number}] ({name:.80})')
        images[identity] = (name, _stated_size(row, f'{where}: image {name:.80}'))
    return images


def _stated_size(row: dict, place: str) -> tuple[int, int] | None:
    width, height = row.get('width'), row.get('height')
    if width is None or height is None:
        return None
    if not all(_is_number(side) and side > 0 and side % 1 == 0 for side in (width, height)):
        raise DataError(
            f'{place} has width {width!r:.20} and height {height!r:.20}, not two positive whole '
            'numbers'
        )
    return int(width), int(height)


def coco_boxes(document: object, where: str, keep: Callable[[dict], bool]) -> Iterator[CocoBox]:
    """Go through the annotations of a COCO document that ``keep`` accepts.

    Raises:
        DataError: something that is needed is missing or of the wrong type, two images have one
            id, or most boxes reach beyond their images.
    """
    images = coco_images(document, where)
    inside = BoxesInImages(where)
    for row in _table(document, 'annotations', where):
        place = f'annotation {row.get("id")!r:.40}'
        _check_choice(row, f'{where}: {place}')
        if not keep(row):
            continue
        identity = row.get('image_id')
        if not is_id(identity) or identity not in images:
            raise DataError(f'{where}: an annotation of an unknown image {identity!r:.40}')
        bbox = read_box(row, 'bbox', f'{where}: {place}')
        if min(bbox[2:]) < 0:
            raise DataError(f'{where}: {place}: bbox {row["bbox"]} has a negative size')
        name, size = images[identity]
        if size is not None:
            inside.add(bbox, size, place)
        yield CocoBox(name, size, bbox, row)
    inside.judge()


def _check_choice(row: dict, place: str) -> None:
    """Check the fields by which annotations are left out, which must not happen by their type."""
    crowd, landmarks = row.get('iscrowd'), row.get('num_keypoints')
    if crowd is not None and not (isinstance(crowd, int) and crowd in (0, 1)):
        raise DataError(f'{place} has iscrowd {crowd!r:.40}, neither 0 nor 1')
    if landmarks is not None and not (isinstance(landmarks, int) and landmarks >= 0):
        raise DataError(f'{place} has num_keypoints {landmarks!r:.40}, not a number of points')


def coco_categories(document: object, where: str) -> dict[int | str, str]:
    """Return the names of the categories by their ids.

    Raises:
        DataError: there is no list of them, two have one id, or ids are of different types.
    """
    categories: dict[int | str, str] = {}
    identities = Identities(where)
    for number, row in enumerate(_table(document, 'categories', where)):
        name, identity = str(row.get('name')), row.get('id')
        identities.add(identity, f'categories[{number}] ({name:.40})')
        assert is_id(identity)
        categories[identity] = name
    return categories


def check_category(category: object, known: Iterable[int | str], place: str) -> int | str:
    """Return the category of an annotation, which need not be listed.

    Raises:
        DataError: it is no id, or one of another type than those that are listed: it would
            never be found among them.
    """
    if not is_id(category):
        raise DataError(f'{place} has category_id {category!r:.40}, no id')
    for other in known:
        if isinstance(category, str) != isinstance(other, str):
            raise DataError(
                f'{place} has category_id {category!r:.40}, {kind(category)}, but ids of '
                f'categories such as {other!r:.40} are not'
            )
        break
    return category


def person_ids(categories: Mapping[int | str, str], where: str) -> frozenset[int | str]:
    """Return the ids of the category ``person``.

    Args:
        categories: names by ids.
        where: the file, for messages.

    Raises:
        DataError: there is no such category; the message names those there are.
    """
    found = [identity for identity, name in categories.items() if name.lower() == 'person']
    if not found:
        names = ', '.join(list(categories.values())[:8]) or 'none'
        raise DataError(f'{where}: no category person (categories: {names})')
    return frozenset(found)


def coco_persons(
    document: object, where: str, keep: Callable[[dict], bool] = lambda row: True
) -> list[Crop]:
    """Return the boxes of single persons (category person, no crowds), clipped.

    Raises:
        DataError: the document is malformed.
    """
    persons = person_ids(coco_categories(document, where), where)

    def wanted(row: dict) -> bool:
        place = f'{where}: annotation {row.get("id")!r:.40}'
        category = check_category(row.get('category_id'), persons, place)
        return category in persons and not row.get('iscrowd') and keep(row)

    crops = []
    for found in coco_boxes(document, where, wanted):
        box = clip_box(*found.bbox, found.size)
        if box is not None:
            crops.append(Crop(found.file_name, box))
    return crops


def read_coco_persons(
    path: str | os.PathLike[str],
) -> tuple[list[Crop], dict[str, tuple[int, int]]]:
    """Read person boxes from a COCO file.

    Returns:
        The boxes, sorted, and (width, height) of the images for which they are stated, by
        file name.

    Raises:
        DataError: the file is malformed or holds no person.
    """
    document = load_json(path)
    crops = sorted(coco_persons(document, str(path)))
    if not crops:
        raise DataError(f'{path} holds no box of a person')
    images = coco_images(document, str(path)).values()
    return crops, {name: size for name, size in images if size is not None}
