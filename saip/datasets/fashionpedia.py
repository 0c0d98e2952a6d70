"""Fashionpedia's annotation files: garments and their parts with outlines and attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from saip.datasets.coco import (
    CocoBox,
    check_category,
    coco_boxes,
    coco_categories,
    coco_images,
    load_json,
)
from saip.datasets.consistency import Identities, is_id
from saip.datasets.crops import DataError
from saip.datasets.outlines import Segmentation, check_outline
from saip.errors import MissingFileError

LAYOUT = (
    'Fashionpedia is a folder with instances_attributes_{train,val}2020.json, train/*.jpg, and '
    'test/*.jpg, where the images of the validation lie, too'
)

CATEGORIES = (
    'shirt, blouse',
    'top, t-shirt, sweatshirt',
    'sweater',
    'cardigan',
    'jacket',
    'vest',
    'pants',
    'shorts',
    'skirt',
    'coat',
    'dress',
    'jumpsuit',
    'cape',
    'glasses',
    'hat',
    'headband, head covering, hair accessory',
    'tie',
    'glove',
    'watch',
    'belt',
    'leg warmer',
    'tights, stockings',
    'sock',
    'shoe',
    'bag, wallet',
    'scarf',
    'umbrella',
    'hood',
    'collar',
    'lapel',
    'epaulette',
    'sleeve',
    'pocket',
    'neckline',
    'buckle',
    'zipper',
    'applique',
    'bead',
    'bow',
    'flower',
    'fringe',
    'ribbon',
    'rivet',
    'ruffle',
    'sequin',
    'tassel',
)
"""By their numbers here, which are the ids of the published files."""

HUMAN = len(CATEGORIES)
"""Number of the person, a category that no file has: the union of all garments of an image."""

ATTRIBUTED = (*range(13), 28, 29, 31, 32, 33)
"""Categories whose attributes the published evaluator looks at: clothes, and collar, lapel, sleeve,
pocket, neckline."""

NUM_ATTRIBUTES = 294


class Garment(NamedTuple):
    """A garment or a part of one.

    Attributes:
        category: index into ``CATEGORIES``.
        bbox: x, y, width, height in pixels.
        segmentation: its outlines.
        attributes: indices into the set's ``attributes``, ascending.
        crowd: whether it stands for several that are not told apart.
    """

    category: int
    bbox: tuple[float, float, float, float]
    segmentation: Segmentation
    attributes: tuple[int, ...]
    crowd: bool


class DressedImage(NamedTuple):
    """An image with its garments.

    Attributes:
        file_name: of the image.
        size: (width, height).
        garments: in the order of the file.
    """

    file_name: str
    size: tuple[int, int]
    garments: list[Garment]


class FashionSet(NamedTuple):
    """What a file says.

    Attributes:
        attribute_ids: ids of the attributes in the file, ascending; not every number occurs.
        attributes: their names.
        images: by their ids, in the order of the file.
    """

    attribute_ids: tuple[int, ...]
    attributes: tuple[str, ...]
    images: dict[int | str, DressedImage]


def read_fashionpedia(path: Path) -> FashionSet:
    """Return the content of a file.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no such file, its categories or attributes are not those of the
            published version, an image has no size, a garment no outline or unknown attributes,
            or there is no garment.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {LAYOUT}')
    try:
        return _read(load_json(path), str(path))
    except DataError as error:
        raise DataError(f'{error}. {LAYOUT}') from error


def _read(document: Any, where: str) -> FashionSet:
    categories = _category_numbers(coco_categories(document, where), where)
    names = _attributes(document, where)
    columns = {identity: column for column, identity in enumerate(names)}
    images = {}
    for identity, (name, size) in coco_images(document, where).items():
        if size is None:
            raise DataError(f'{where}: image {name:.80} has no width and height')
        images[identity] = DressedImage(name, size, [])
    for found in coco_boxes(document, where, lambda row: True):
        place = f'{where}: annotation {found.annotation.get("id")!r:.40}'
        garment = _garment(found, categories, columns, place)
        images[found.annotation['image_id']].garments.append(garment)
    if not any(image.garments for image in images.values()):
        raise DataError(f'{where}: no image with a garment')
    return FashionSet(tuple(names), tuple(names.values()), images)


def _category_numbers(found: dict[int | str, str], where: str) -> dict[int | str, int]:
    """Numbers of the categories by their ids in the file.

    Raises:
        DataError: they are not the 46 that are published.
    """
    others = sorted(set(found.values()) - set(CATEGORIES))
    missing = sorted(set(CATEGORIES) - set(found.values()))
    if others or missing or len(found) != len(CATEGORIES):
        lists = (('with', others), ('without', missing))
        named = [f'{what} {names[0]!r:.40}' for what, names in lists if names]
        raise DataError(
            f'{where}: {len(found)} categories ({", ".join(named) or "some of them twice"}), not '
            f'the {len(CATEGORIES)} of the published files; samples of earlier versions have 48'
        )
    numbers = {name: number for number, name in enumerate(CATEGORIES)}
    return {identity: numbers[name] for identity, name in found.items()}


def _attributes(document: Any, where: str) -> dict[int, str]:
    """Names of the attributes by their ids, which ascend."""
    rows = document.get('attributes')
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f'{where}: no list of attributes')
    identities = Identities(where)
    names: dict[int, str] = {}
    for number, row in enumerate(rows):
        identity = row.get('id')
        identities.add(identity, f'attributes[{number}] ({row.get("name")!s:.40})')
        if not isinstance(identity, int):
            raise DataError(
                f'{where}: attributes[{number}] has the id {identity!r:.40}, a text'
            )
        names[identity] = str(row.get('name'))
    if len(names) != NUM_ATTRIBUTES:
        raise DataError(
            f'{where}: {len(names)} attributes, not the {NUM_ATTRIBUTES} of the published files; '
            'samples of earlier versions have 320'
        )
    return dict(sorted(names.items()))


def _garment(
    found: CocoBox, categories: dict[int | str, int], columns: dict[int, int], place: str
) -> Garment:
    row = found.annotation
    category = check_category(row.get('category_id'), categories, place)
    if category not in categories:
        raise DataError(
            f'{place} has the category {category!r:.40}, which the file does not list'
        )
    marked = row.get('attribute_ids')
    if not isinstance(marked, list):
        raise DataError(f'{place} has attribute_ids {marked!r:.40}, not a list of ids')
    unknown = [
        identity for identity in marked if not is_id(identity) or identity not in columns
    ]
    if unknown:
        raise DataError(
            f'{place} has the attribute {unknown[0]!r:.40}, which the file does not list'
        )
    assert found.size is not None
    check_outline(row.get('segmentation'), found.size, place)
    return Garment(
        categories[category],
        found.bbox,
        row['segmentation'],
        tuple(sorted({columns[identity] for identity in marked})),
        bool(row.get('iscrowd')),
    )
