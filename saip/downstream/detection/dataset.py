"""CrowdHuman: crowded scenes with full, visible and head boxes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mmdet.datasets import CrowdHumanDataset
from mmengine.logging import print_log

from saip.datasets.canvas import image_size
from saip.datasets.consistency import BoxesInImages
from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.odgt import is_person
from saip.datasets.readable import MAX_BAD, StandIns, require_readable
from saip.registry import DATASETS

from .annotations import LAYOUT, is_empty, read_odgt

# In mmdet's own words a box to ignore; it touches no image.
_OUTSIDE = dict(bbox=[-2, -2, -1, -1], bbox_label=-1, ignore_flag=1)


@DATASETS.register_module()
class CrowdHuman(StandIns, CrowdHumanDataset):
    """mmdet's CrowdHuman data set, which looks at its files before it begins.

    Sizes come from the headers of the images, so nothing is decoded and nothing is written to
    the data folder. A training image with a single box gets a second one, outside of it and to
    be ignored: mmdet's ``MultiInstanceAssigner`` takes the two best boxes of each proposal, and
    where there is only one it fails, or mixes up the proposals. Boxes without an area are left out
    of the training, with a warning that counts them. In a test everything stays, since the metric
    reads the file itself.

    Args:
        data_root: folder of the set.
        ann_file: an ``.odgt`` file in it.
        skip_unusable: leave out training images without a person, with a warning that counts
            them, instead of stopping.
        **kwargs: options of the parent, of which ``data_prefix['img']`` is the folder of the
            images.

    Raises:
        FileNotFoundError: the annotations, the folder of the images or an image is missing.
        DataError: a line of the annotations is no record, a training image shows no person, a
            test image has no box at all, no person is in the set, test images or more than 1 % of
            the training images are no images, or most visible boxes reach beyond their images.
    """

    def __init__(
        self, data_root: str, ann_file: str, skip_unusable: bool = False, **kwargs: Any
    ) -> None:
        self.skip_unusable = skip_unusable
        # Past mmdet's constructor, which prepares to decode all images for their sizes.
        super(CrowdHumanDataset, self).__init__(
            data_root=data_root, ann_file=ann_file, **kwargs
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return what mmdet needs to know of each image."""
        path = Path(self.ann_file)
        records = read_odgt(path)
        folder = Path(self.data_prefix['img'])
        images = (str(folder / f'{record["ID"]}.jpg') for record in records)
        require_files(images, str(path), LAYOUT)
        if self.test_mode:
            _require_boxes(path, records)
        else:
            records = self._learnable(path, records)
        if not any(is_person(box) for record in records for box in record['gtboxes']):
            raise DataError(f'{path}: no image with a person. {LAYOUT}')
        self.extra_ann_exist = True
        self.extra_anns, records = self._sizes(path, folder, records)
        _check_places(path, records, self.extra_anns)
        data_list = [self.parse_data_info(record) for record in records]
        del self.extra_anns
        return data_list

    def _sizes(
        self, path: Path, folder: Path, records: list[dict[str, Any]]
    ) -> tuple[dict[str, tuple[int, int]], list[dict[str, Any]]]:
        """Return (height, width) of the images by ID, and the records of those that have one.

        Raises:
            DataError: test images, or more than 1 % of the training images, cannot be read.
        """
        sizes: dict[str, tuple[int, int]] = {}
        unread = []
        for record in records:
            image = folder / f'{record["ID"]}.jpg'
            try:
                sizes[record['ID']] = image_size(image)
            except DataError:
                unread.append(image)
        if unread and (self.test_mode or len(unread) > MAX_BAD * len(records)):
            require_readable(unread, str(path))
        _warn(path, 'images that cannot be read', list(map(str, unread)))
        return sizes, [record for record in records if record['ID'] in sizes]

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Return what mmdet needs to know of an image."""
        parsed = super().parse_data_info(raw_data_info)
        if len(parsed['instances']) == 1 and not self.test_mode:
            parsed['instances'].append(dict(_OUTSIDE))
        return parsed

    def _learnable(self, path: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the records to learn from, without boxes that have no area.

        Raises:
            DataError: an image shows no person, and ``skip_unusable`` is off.
        """
        kept: list[dict[str, Any]] = []
        empty, deserted = [], []
        for number, record in enumerate(records, 1):
            place = f'line {number}: {record["ID"]}.jpg'
            boxes = [box for box in record['gtboxes'] if not is_empty(box)]
            empty += [place] * (len(record['gtboxes']) - len(boxes))
            if any(map(is_person, boxes)):
                kept.append({**record, 'gtboxes': boxes})
            else:
                deserted.append(place)
        if deserted and not self.skip_unusable:
            raise DataError(
                f'{path}, {deserted[0]} shows no person (images of this kind in the file: '
                f'{len(deserted)}). Correct them, or leave them out with skip_unusable=True for '
                f'this data set. {LAYOUT}'
            )
        _warn(path, 'boxes (fbox) without an area', empty)
        _warn(path, 'images without a person', deserted)
        return kept


def _warn(path: Path, what: str, places: list[str]) -> None:
    """Say how many are left out of the training, if any."""
    if places:
        text = f'{path}: {what}, left out: {len(places)}, the first in {places[0]}'
        print_log(text, logger='current', level=logging.WARNING)


def _check_places(
    path: Path, records: list[dict[str, Any]], sizes: dict[str, tuple[int, int]]
) -> None:
    """Compare boxes with the images, whose sizes (height, width) are given by ID.

    Raises:
        DataError: most visible boxes reach beyond their images, or boxes are corners.
    """
    visible = BoxesInImages(str(path), 'vbox')
    # The border cuts many people off, in crowds perhaps most, and full boxes go on beyond it.
    full = BoxesInImages(str(path), 'fbox', may_leave=True)
    for record in records:
        height, width = sizes[record['ID']]
        for box in filter(is_person, record['gtboxes']):
            for name, counted in (('vbox', visible), ('fbox', full)):
                counted.add(tuple(box[name]), (width, height), f'{record["ID"]}.jpg')
    full.judge()
    visible.judge()


def _require_boxes(path: Path, records: list[dict[str, Any]]) -> None:
    """Refuse an image without any box, which mmdet's metric cannot take."""
    for number, record in enumerate(records, 1):
        if not record['gtboxes']:
            raise DataError(
                f'{path}, line {number}: {record["ID"]}.jpg has no box, and mmdet cannot evaluate '
                f'it. {LAYOUT}'
            )
