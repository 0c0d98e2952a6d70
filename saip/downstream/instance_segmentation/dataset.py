"""COCO: 80 categories of objects with boxes and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.datasets import CocoDataset

from saip.datasets.coco import (
    CocoBox,
    check_category,
    coco_boxes,
    coco_categories,
    coco_images,
    load_json,
)
from saip.datasets.coco_categories import CATEGORIES
from saip.datasets.consistency import Identities
from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.outlines import check_outline
from saip.datasets.readable import StandIns
from saip.errors import MissingFileError
from saip.registry import DATASETS

LAYOUT = (
    'COCO is a folder with train2017/*.jpg, val2017/*.jpg and '
    'annotations/instances_{train,val}2017.json'
)


@DATASETS.register_module()
class CocoInstances(StandIns, CocoDataset):
    """mmdetection's COCO data set, which looks at its files before it begins.

    Crowds are objects to ignore, in training and in the metric. The options are the parent's:
    ``data_prefix['img']`` is the folder of the images.

    Raises:
        FileNotFoundError: the annotations, the folder or an image is missing.
        DataError: the annotations are of another form, their categories are not COCO's 80 in
            their order, or there is nothing to learn from.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what the transforms need to know of each image."""
        path = Path(self.ann_file)
        check_annotations(path)
        records: list[dict[str, Any]] = super().load_data_list()
        require_files((record['img_path'] for record in records), str(path), LAYOUT)
        objects = (one for record in records for one in record['instances'])
        if all(one['ignore_flag'] for one in objects):
            raise DataError(f'{path}: no object that has an area. {LAYOUT}')
        return records


def check_annotations(path: Path) -> None:
    """Check an annotation file of COCO's objects.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is of another form.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {LAYOUT}')
    try:
        _check(load_json(path), str(path))
    except DataError as error:
        raise DataError(f'{error}. {LAYOUT}') from error


def _check(document: object, where: str) -> None:
    for name, size in coco_images(document, where).values():
        if size is None:
            raise DataError(f'{where}: image {name:.80} has no width and height')
    categories = coco_categories(document, where)
    # mmdet numbers the classes in the order of the file.
    names, known = list(categories.values()), [entry['name'] for entry in CATEGORIES]
    if names != known:
        pairs = zip(
            [*names, *[None] * len(known)], [*known, *[None] * len(names)], strict=False
        )
        other, wanted = next(pair for pair in pairs if pair[0] != pair[1])
        raise DataError(
            f"{where}: {len(names)} categories, not COCO's {len(known)} in their order: the first "
            f'that differs is {other!r:.40} in place of {wanted!r}'
        )
    identities = Identities(where)
    for number, found in enumerate(coco_boxes(document, where, lambda row: True)):
        identity = found.annotation.get('id')
        identities.add(identity, f'annotations[{number}] of {found.file_name:.80}')
        _check_object(found, categories, f'{where}: annotation {identity!r:.40}')


def _check_object(found: CocoBox, categories: Mapping[int | str, str], place: str) -> None:
    row = found.annotation
    category = check_category(row.get('category_id'), categories, place)
    if category not in categories:
        raise DataError(f'{place} has category_id {category!r:.40}, which no category has')
    area = row.get('area')
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area):
        raise DataError(f'{place} has the area {area!r:.40}, not a number')
    assert found.size is not None  # as all images of the file have one
    # A polygon of fewer points is left out by mmdet.
    check_outline(row.get('segmentation'), found.size, place, least_points=1)
