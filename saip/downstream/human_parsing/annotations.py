"""CIHP's annotation file, and what may be wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from saip.datasets.cihp import PARTS
from saip.datasets.coco import (
    CocoBox,
    check_category,
    coco_boxes,
    coco_categories,
    coco_images,
    load_json,
    person_ids,
)
from saip.datasets.crops import DataError
from saip.errors import MissingFileError

RESPELT = 3
"""Part names that copies of the annotations may write otherwise, as "Tosor-skin"."""

LAYOUT = (
    'CIHP is a folder with annotations/CIHP_{train,val}.json, {train,val}_img/*.jpg, '
    '{train,val}_parsing/*.png with the labels of one person each, and {train,val}_seg/*.png with '
    'those of all; tools/dataset_converters/make_cihp.py makes it from the published '
    'instance-level_human_parsing'
)


class Person(NamedTuple):
    """A person of an image.

    Attributes:
        bbox: x, y, width, height in pixels.
        parsing: name of the label map; None for a crowd, which has none.
    """

    bbox: tuple[float, float, float, float]
    parsing: str | None


class ParsedImage(NamedTuple):
    """An image with its people.

    Attributes:
        file_name: of the image.
        size: (width, height).
        people: in the order of the file.
    """

    file_name: str
    size: tuple[int, int]
    people: list[Person]


def read_cihp(path: Path) -> dict[int | str, ParsedImage]:
    """Return the images of a file by their ids, in their order.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no such file, its categories do not name 20 parts, an image has no
            size, a person no label map, or no person is in the set.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {LAYOUT}')
    try:
        return _images(load_json(path), str(path))
    except DataError as error:
        raise DataError(f'{error}. {LAYOUT}') from error


def _images(document: Any, where: str) -> dict[int | str, ParsedImage]:
    persons = person_ids(coco_categories(document, where), where)
    for category in document['categories']:
        if category['id'] in persons:
            _check_parts(category, where)
    images = {}
    for identity, (name, size) in coco_images(document, where).items():
        if size is None:
            raise DataError(f'{where}: image {name:.80} has no width and height')
        images[identity] = ParsedImage(name, size, [])

    def is_person(row: dict[str, Any]) -> bool:
        place = f'{where}: annotation {row.get("id")!r:.40}'
        return check_category(row.get('category_id'), persons, place) in persons

    for found in coco_boxes(document, where, is_person):
        images[found.annotation['image_id']].people.append(_person(found, where))
    if not any(image.people for image in images.values()):
        raise DataError(f'{where}: no image with a person')
    return images


def _check_parts(category: dict[str, Any], where: str) -> None:
    parts = category.get('parsing')
    if not isinstance(parts, list) or len(parts) != len(PARTS):
        found = f'{len(parts)}' if isinstance(parts, list) else 'none'
        raise DataError(
            f'{where}: category {category["name"]!r:.40} names {found} of the parts in "parsing", '
            f'not the {len(PARTS)} of CIHP, {PARTS[0]} to {PARTS[-1]}'
        )
    others = [
        f'{number} is {str(name)!r:.40}, not {part!r}'
        for number, (name, part) in enumerate(zip(parts, PARTS, strict=True))
        if _letters(name) != _letters(part)
    ]
    if len(others) > RESPELT:
        raise DataError(
            f'{where}: category {category["name"]!r:.40} names other parts than CIHP in '
            f'"parsing", or in another order: {others[0]}'
        )


def _letters(name: Any) -> str:
    return ''.join(letter for letter in str(name).lower() if letter.isalpha())


def _person(found: CocoBox, where: str) -> Person:
    if found.annotation.get('iscrowd'):
        return Person(found.bbox, None)
    parsing = found.annotation.get('parsing')
    if not isinstance(parsing, str) or not parsing:
        raise DataError(
            f'{where}: annotation {found.annotation.get("id")!r:.40} has parsing {parsing!r:.40}, '
            'not the name of a label map'
        )
    return Person(found.bbox, parsing)
