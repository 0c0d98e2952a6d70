"""Fashionpedia as mmdetection reads it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from saip.datasets.crops import DataError
from saip.datasets.fashionpedia import (
    CATEGORIES,
    HUMAN,
    LAYOUT,
    DressedImage,
    Garment,
    read_fashionpedia,
)
from saip.datasets.files import require_files
from saip.datasets.knowledge import Counts, count
from saip.datasets.readable import StandIns
from saip.registry import DATASETS

from .outlines import HUMAN_MARGIN, human_box


@DATASETS.register_module()
class Fashionpedia(StandIns, BaseDetDataset):
    """Garments with categories, masks and attributes, and the person who wears them.

    The person of an image is one more object, of the last class: its box is that of all garments,
    10 pixels larger on each side, its mask is theirs together, and it has no attributes. Crowds are
    objects to ignore and do not belong to it. A training leaves out boxes smaller than a pixel and
    images without a garment, with a warning that counts them; a test keeps all. Attributes are
    numbered as the file lists them, by ascending ids: ``metainfo['attributes']`` are their names,
    ``metainfo['attribute_ids']`` their ids.

    Args:
        data_root: folder of the set.
        ann_file: JSON file in it.
        **kwargs: options of the parent, of which ``data_prefix['img']`` is the folder of images.

    Attributes:
        counts: of categories and attributes in the whole file; None in a test.

    Raises:
        FileNotFoundError: the annotations, the folder or an image is missing.
        DataError: the annotations are of another form, or nothing can be learned from.
    """

    METAINFO: dict[str, Any] = dict(classes=(*CATEGORIES, 'human'))
    counts: Counts | None = None

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what the transforms need to know of each image."""
        path = Path(self.ann_file)
        annotated = read_fashionpedia(path)
        self._metainfo['attributes'] = annotated.attributes
        self._metainfo['attribute_ids'] = annotated.attribute_ids
        images = annotated.images
        if not self.test_mode:
            self.counts = count(annotated)
            images = _learnable(path, images)
        records = [self._record(identity, image) for identity, image in images.items()]
        require_files((record['img_path'] for record in records), str(path), LAYOUT)
        return records

    def _record(self, identity: int | str, image: DressedImage) -> dict[str, Any]:
        width, height = image.size
        instances = [_instance(garment) for garment in image.garments]
        boxes = [one['bbox'] for one in instances if not one['ignore_flag']]
        if boxes:
            box = human_box(torch.tensor(boxes), image.size, (HUMAN_MARGIN, HUMAN_MARGIN))
            human = dict(bbox=box.tolist(), bbox_label=HUMAN, ignore_flag=0)
            instances.append(human | dict(mask=None, attributes=()))
        return dict(
            img_id=identity,
            img_path=os.path.join(self.data_prefix['img'], image.file_name),
            height=height,
            width=width,
            instances=instances,
        )


def _instance(garment: Garment) -> dict[str, Any]:
    x, y, width, height = garment.bbox
    return dict(
        bbox=[x, y, x + width, y + height],
        bbox_label=garment.category,
        ignore_flag=int(garment.crowd),
        mask=garment.segmentation,
        attributes=garment.attributes,
    )


def _learnable(
    path: Path, images: dict[int | str, DressedImage]
) -> dict[int | str, DressedImage]:
    """Return the images with garments, and of these the boxes that have an area.

    Raises:
        DataError: there are none.
    """
    kept: dict[int | str, DressedImage] = {}
    small, bare = [], []
    for identity, image in images.items():
        garments = [garment for garment in image.garments if min(garment.bbox[2:]) >= 1]
        small += [image.file_name] * (len(image.garments) - len(garments))
        if any(not garment.crowd for garment in garments):
            kept[identity] = image._replace(garments=garments)
        else:
            bare.append(image.file_name)
    if not kept:
        raise DataError(f'{path}: no image with a garment that has an area. {LAYOUT}')
    for what, names in (('boxes below a pixel', small), ('images without a garment', bare)):
        if names:
            text = f'{path}: {what}, left out: {len(names)}, the first in {names[0]}'
            print_log(text, logger='current', level=logging.WARNING)
    return kept
