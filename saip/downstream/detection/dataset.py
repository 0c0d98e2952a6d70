"""CrowdHuman: crowded scenes with full, visible and head boxes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from mmdet.datasets import CrowdHumanDataset
from mmengine.logging import print_log
from PIL import Image

from saip.datasets.crops import DataError
from saip.registry import DATASETS

from .annotations import LAYOUT, is_empty, is_person, read_odgt

# In mmdet's own words a box to ignore; it touches no picture.
_OUTSIDE = dict(bbox=[-2, -2, -1, -1], bbox_label=-1, ignore_flag=1)
_EXIF_ORIENTATION = 0x0112


@DATASETS.register_module()
class CrowdHuman(CrowdHumanDataset):
    """mmdet's CrowdHuman data set, which looks at its files before it begins.

    Sizes come from the headers of the pictures, so nothing is decoded and nothing is written to
    the data folder. A training picture with a single box gets a second one, outside of it and to
    be ignored: mmdet's ``MultiInstanceAssigner`` takes the two best boxes of each proposal, and
    where there is only one it fails, or mixes up the proposals.

    Args:
        data_root: folder of the set.
        ann_file: an ``.odgt`` file in it.
        skip_unusable: leave out boxes without an area and pictures without a person, with a
            warning that counts them, instead of stopping. In a test all stay, since the metric
            counts what the file holds; there a picture without any box stops anyway.
        **kwargs: options of the parent, of which ``data_prefix['img']`` is the folder of the
            pictures.

    Raises:
        FileNotFoundError: the annotations, the folder of the pictures or a picture is missing.
        DataError: a line of the annotations is no record, a box has no area, a picture shows no
            person, or a file is no picture.
    """

    def __init__(
        self, data_root: str, ann_file: str, skip_unusable: bool = False, **kwargs: Any
    ) -> None:
        self.skip_unusable = skip_unusable
        # Past mmdet's constructor, which prepares to decode all pictures for their sizes.
        super(CrowdHumanDataset, self).__init__(
            data_root=data_root, ann_file=ann_file, **kwargs
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what mmdet needs to know of each picture."""
        path = Path(self.ann_file)
        records = read_odgt(path)
        folder = Path(self.data_prefix['img'])
        _check_files(folder, records, path)
        usable = self._usable(path, records)
        self.extra_ann_exist = True
        self.extra_anns = {
            record['ID']: picture_size(folder / f'{record["ID"]}.jpg') for record in usable
        }
        data_list = [self.parse_data_info(record) for record in usable]
        del self.extra_anns
        return data_list

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Return what mmdet needs to know of a picture."""
        parsed = super().parse_data_info(raw_data_info)
        if len(parsed['instances']) == 1 and not self.test_mode:
            parsed['instances'].append(dict(_OUTSIDE))
        return parsed

    def _usable(self, path: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the records that can be used; others stop the run unless they may be skipped."""
        usable, flaws = [], []
        for number, record in enumerate(records, 1):
            place = f'{path}, line {number}: {record["ID"]}.jpg'
            boxes = [box for box in record['gtboxes'] if not is_empty(box)]
            if len(boxes) < len(record['gtboxes']):
                flaws.append(f'{place} has a box (fbox) without an area')
            populated = any(map(is_person, boxes))
            if not populated:
                flaws.append(f'{place} shows no person')
            if self.test_mode and not record['gtboxes']:
                raise DataError(f'{place} has no box, and mmdet cannot evaluate it. {LAYOUT}')
            if self.test_mode:
                usable.append(record)
            elif populated:
                usable.append({**record, 'gtboxes': boxes})
        if flaws and not self.skip_unusable:
            raise DataError(
                f'{flaws[0]} (flaws of this kind in the file: {len(flaws)}). Correct them, or set '
                f'skip_unusable=True for this data set. {LAYOUT}'
            )
        if not any(is_person(box) for record in usable for box in record['gtboxes']):
            raise DataError(f'{path}: no picture with a person. {LAYOUT}')
        if flaws:
            done = 'kept in the test' if self.test_mode else 'left out'
            text = f'unusable boxes or pictures {done}: {len(flaws)}, the first: {flaws[0]}'
            print_log(text, logger='current', level=logging.WARNING)
        return usable


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as the picture is loaded, read from its header alone.

    Raises:
        DataError: the file is no picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            # mmcv turns pictures upright; from 5 on the sides are exchanged.
            turned = picture.getexif().get(_EXIF_ORIENTATION, 1) >= 5
    except OSError as error:
        raise DataError(f'{path}: not a readable picture ({error}); copy it again') from error
    return (width, height) if turned else (height, width)


def _check_files(folder: Path, records: list[dict[str, Any]], listed_in: Path) -> None:
    """Check that all pictures are there, by one listing instead of a question for each."""
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: no such folder. {LAYOUT}')
    present = set(os.listdir(folder))
    missing = [record['ID'] for record in records if f'{record["ID"]}.jpg' not in present]
    if missing:
        raise FileNotFoundError(
            f'{folder / missing[0]}.jpg: no such file, and {len(missing)} of the {len(records)} '
            f'pictures that {listed_in} names are missing in this folder. {LAYOUT}'
        )
