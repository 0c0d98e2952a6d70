"""Crops of persons with parts or keypoints, to measure frozen dense features on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saip.datasets.canvas import decode_image, read_canvas, to_canvas
from saip.datasets.coco import CocoBox, coco_boxes, load_json
from saip.datasets.crops import DataError, clip_box
from saip.datasets.files import read_text, require_files
from saip.datasets.readable import require_readable
from saip.errors import MissingFileError

BODY_PARTS = ('background', 'head', 'upper body', 'arms', 'lower body', 'legs', 'feet')
LIP_TO_PARTS = (0, 1, 1, 3, 1, 2, 2, 2, 5, 4, 2, 2, 4, 1, 3, 3, 5, 5, 6, 6)
"""Of each of LIP's 20 labels its body part: small garments and sides are joined."""

LIP_LAYOUT = (
    'LIP is a folder with train_images/*.jpg, train_segmentations/*.png, train_id.txt, and the '
    'same for val'
)
COCO_LAYOUT = (
    'COCO keypoints are a folder with annotations/person_keypoints_{train,val}2017.json, '
    'train2017/ and val2017/'
)
KEYPOINTS = 17
MARGIN = 0.05
"""Of a box's sides, on each side of it: keypoints lie on the border of tight boxes."""

LIMITS = {'train': 2000, 'val': 1000}
"""Most samples of a split, spread over it; a linear probe needs no more."""


class PartCrops(Dataset):
    """Images of persons with maps of seven body parts, from a set in LIP's layout.

    A sample is ``image`` (3, h, w) uint8 and ``parts`` (h, w) uint8, numbers of ``BODY_PARTS``.

    Args:
        root: folder of the set.
        split: ``train`` or ``val``.
        size: (h, w) of the samples; whole images are squeezed.

    Raises:
        FileNotFoundError: a file is missing.
        DataError: the split is empty.
    """

    def __init__(self, root: str | Path, split: str, size: tuple[int, int]) -> None:
        self.root, self.split, self.size = Path(root), split, size
        listing = self.root / f'{split}_id.txt'
        if not listing.is_file():
            raise MissingFileError(f'{listing}: no such file. {LIP_LAYOUT}')
        names = read_text(listing).split()
        if not names:
            raise DataError(f'{listing}: names no image')
        self.names = [names[i] for i in _spread(len(names), LIMITS[split])]
        self.table = np.array(LIP_TO_PARTS, np.uint8)
        images = [os.fspath(self._image(name)) for name in self.names]
        require_files(images, str(listing), LIP_LAYOUT)
        require_readable(images, str(listing))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Read one sample.

        Raises:
            FileNotFoundError: the map is missing.
            DataError: the map has labels that LIP has not, or another size than its image.
        """
        name = self.names[index]
        path = self.root / f'{self.split}_segmentations' / f'{name}.png'
        image = decode_image(self._image(name))
        labels = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise MissingFileError(f'{path}: no such label map. {LIP_LAYOUT}')
        if labels.shape != image.shape[:2] or labels.max() >= len(self.table):
            raise DataError(
                f'{path}: shape {labels.shape} and labels up to {labels.max()}; a map of '
                f'{image.shape[:2]} with labels below {len(self.table)} is needed'
            )
        height, width = self.size
        small = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return {
            'image': to_canvas(image, self.size),
            'parts': torch.from_numpy(self.table[small]),
        }

    def _image(self, name: str) -> Path:
        return self.root / f'{self.split}_images' / f'{name}.jpg'


class KeypointCrops(Dataset):
    """Boxes of persons with keypoints, from a set in the layout of COCO.

    A sample is ``image`` (3, h, w) uint8, ``points`` (17, 2) float32, x and y in widths and heights
    of the crop, ``labeled`` (17,) bool, and ``aspect``, the width of the crop in heights. Persons
    without an annotated keypoint, and crowds, are left out.

    Args:
        root: folder of the set.
        split: ``train`` or ``val``.
        size: (h, w) of the samples; crops are squeezed.

    Raises:
        FileNotFoundError: the annotations or an image are missing.
        DataError: they are malformed, or no person has a keypoint.
    """

    def __init__(self, root: str | Path, split: str, size: tuple[int, int]) -> None:
        self.size = size
        self.folder = Path(root) / f'{split}2017'
        file = Path(root) / 'annotations' / f'person_keypoints_{split}2017.json'
        if not file.is_file():
            raise MissingFileError(f'{file}: no such file. {COCO_LAYOUT}')
        document = load_json(file)
        persons = list(coco_boxes(document, str(file), _has_keypoints))
        if not persons:
            raise DataError(f'{file}: no person has a keypoint')
        self.persons = [persons[i] for i in _spread(len(persons), LIMITS[split])]
        self.points = [_read_points(person, str(file)) for person in self.persons]
        paths = [os.fspath(self.folder / person.file_name) for person in self.persons]
        require_files(paths, str(file), COCO_LAYOUT)
        require_readable(paths, str(file))

    def __len__(self) -> int:
        return len(self.persons)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Read one sample.

        Raises:
            ImageError: the image cannot be decoded, or the box lies outside of it.
        """
        person = self.persons[index]
        x, y, width, height = person.bbox
        wider, higher = MARGIN * width, MARGIN * height
        box = clip_box(
            x - wider, y - higher, width + 2 * wider, height + 2 * higher, person.size
        )
        if box is None:
            raise DataError(f'{self.folder / person.file_name}: the box {person.bbox} is empty')
        path = self.folder / person.file_name
        image, (tall, wide) = read_canvas(path.read_bytes(), self.size, box)
        points = self.points[index]
        # Centers of pixels have whole numbers.
        places = (points[:, :2] + 0.5 - box[:2]) / (wide, tall)
        inside = ((places >= 0) & (places <= 1)).all(axis=1)
        return {
            'image': image,
            'points': torch.from_numpy(places.astype(np.float32)),
            'labeled': torch.from_numpy((points[:, 2] > 0) & inside),
            'aspect': torch.tensor(wide / tall),
        }


def _has_keypoints(row: dict[str, Any]) -> bool:
    return not row.get('iscrowd') and bool(row.get('num_keypoints'))


def _read_points(person: CocoBox, where: str) -> np.ndarray:
    """(17, 3) x, y and visibility.

    Raises:
        DataError: they are others.
    """
    try:
        points = np.array(person.annotation.get('keypoints'), np.float64).reshape(KEYPOINTS, 3)
    except (TypeError, ValueError):
        points = np.full((1, 1), np.nan)
    if not np.isfinite(points).all():
        raise DataError(
            f'{where}: annotation {person.annotation.get("id")!r:.40} has no {KEYPOINTS} '
            'keypoints of three numbers each'
        )
    return points


def _spread(count: int, limit: int) -> Sequence[int]:
    """At most ``limit`` numbers below ``count``, evenly spread."""
    return [i * count // min(count, limit) for i in range(min(count, limit))]
