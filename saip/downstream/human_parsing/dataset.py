"""CIHP, Crowd Instance-level Human Parsing: several people with 19 parts each."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from saip.datasets.cihp import COLORS, PARTS
from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.readable import StandIns
from saip.registry import DATASETS

from .annotations import LAYOUT, ParsedImage, Person, read_cihp


@DATASETS.register_module()
class CIHP(StandIns, BaseDetDataset):
    """People of CIHP in the form that Parsing R-CNN published, with a label map for each.

    A training leaves out boxes smaller than a pixel and images without a person, with a warning
    that counts them; a test keeps all. All files are looked for at the start.

    Args:
        data_root: folder of the set.
        ann_file: JSON file in it.
        **kwargs: options of the parent, of which ``data_prefix`` has the folders ``img``,
            ``parsing`` (label maps of people) and ``seg`` (of whole images).

    Raises:
        FileNotFoundError: the annotations, a folder or a file of it is missing.
        DataError: the annotations are of another form, or no person can be learned from.
    """

    METAINFO: dict[str, Any] = dict(
        classes=('person',), palette=[(220, 20, 60)], parts=PARTS, part_colors=COLORS
    )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what the transforms need to know of each image."""
        path = Path(self.ann_file)
        images = read_cihp(path)
        if not self.test_mode:
            images = _learnable(path, images)
        records = [self._record(identity, image) for identity, image in images.items()]
        require_files((record['img_path'] for record in records), str(path), LAYOUT)
        maps = [person['parsing'] for record in records for person in record['instances']]
        require_files((name for name in maps if name is not None), str(path), LAYOUT)
        if self.test_mode:
            require_files((record['seg_map_path'] for record in records), str(path), LAYOUT)
        return records

    def _record(self, identity: int | str, image: ParsedImage) -> dict[str, Any]:
        stem = os.path.splitext(image.file_name)[0]
        width, height = image.size
        return dict(
            img_id=identity,
            img_path=os.path.join(self.data_prefix['img'], image.file_name),
            seg_map_path=os.path.join(self.data_prefix['seg'], stem + self.seg_map_suffix),
            height=height,
            width=width,
            instances=[self._instance(person) for person in image.people],
        )

    def _instance(self, person: Person) -> dict[str, Any]:
        x, y, width, height = person.bbox
        folder = self.data_prefix['parsing']
        return dict(
            bbox=[x, y, x + width, y + height],
            bbox_label=0,
            ignore_flag=int(person.parsing is None),
            parsing=None if person.parsing is None else os.path.join(folder, person.parsing),
        )


def _learnable(
    path: Path, images: dict[int | str, ParsedImage]
) -> dict[int | str, ParsedImage]:
    """Return the images with people, and of these the boxes that have an area.

    Raises:
        DataError: there are none.
    """
    kept: dict[int | str, ParsedImage] = {}
    small, deserted = [], []
    for identity, image in images.items():
        people = [person for person in image.people if min(person.bbox[2:]) >= 1]
        small += [image.file_name] * (len(image.people) - len(people))
        if any(person.parsing is not None for person in people):
            kept[identity] = image._replace(people=people)
        else:
            deserted.append(image.file_name)
    if not kept:
        raise DataError(f'{path}: no image with a person who has an area. {LAYOUT}')
    for what, names in (('boxes below a pixel', small), ('images without a person', deserted)):
        if names:
            text = f'{path}: {what}, left out: {len(names)}, the first in {names[0]}'
            print_log(text, logger='current', level=logging.WARNING)
    return kept
