"""How the persons of each of HP1M's seven sources are found, from their native annotations.

Each reader's docstring states the rule. Paths in the result are relative to the folder that
holds all sources. Boxes are rounded outwards to whole pixels; they are clipped to the images,
and the tiny ones left out, when the images are verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from saip.errors import MissingFileError

from ..canvas import ImageError, open_image
from ..coco import coco_boxes, coco_persons, load_json, read_box
from ..crops import Box, Crop, DataError, clip_box
from ..files import read_text
from ..odgt import is_person, parse_odgt_line
from ..parallel import parallel_map
from ..verify import Rejected


class Found(NamedTuple):
    """The samples of a source, and the annotation files that could not be read."""

    crops: list[Crop]
    rejected: list[Rejected]


class Source(NamedTuple):
    """One of the seven.

    Attributes:
        expected: its number of samples in Table IX.
        read: finds the samples, given the source's folder and a number of processes.
    """

    expected: int
    read: Callable[[Path, int], Found]


def find_one(folder: Path, pattern: str) -> Path:
    """Find a file or folder whose depth depends on how an archive was unpacked.

    Raises:
        FileNotFoundError: there is none within three levels.
    """
    for depth in ('', '*/', '*/*/'):
        matches = sorted(folder.glob(depth + pattern))
        if matches:
            return matches[0]
    raise MissingFileError(f'{folder} holds no {pattern}')


def _within(path: Path, folder: Path) -> str:
    return path.relative_to(folder.parent).as_posix()


def parse_aic(document: object, images: str, where: str) -> list[Crop]:
    """Read AIC's keypoint annotations: a list of images with ``human_annotations``.

    Raises:
        DataError: the document is malformed.
    """
    if not isinstance(document, list):
        raise DataError(f'{where}: not a list of images')
    crops = []
    for row in document:
        name = row.get('image_id') if isinstance(row, dict) else None
        humans = row.get('human_annotations') if isinstance(row, dict) else None
        if not isinstance(name, str) or not name or not isinstance(humans, dict):
            raise DataError(f'{where}: an image without image_id or human_annotations')
        for human in humans:
            x0, y0, x1, y1 = read_box(humans, human, f'{where}: {name}')
            box = clip_box(x0, y0, x1 - x0, y1 - y0, None)
            if box is not None:
                crops.append(Crop(f'{images}/{name}.jpg', box))
    return crops


def read_aic(folder: Path, workers: int) -> Found:
    """AIC: every box of ``human_annotations`` (x0, y0, x1, y1) of the keypoint training set."""
    annotations = find_one(folder, 'keypoint_train_annotations*.json')
    images = _within(find_one(folder, 'keypoint_train_images*/'), folder)
    return Found(parse_aic(load_json(annotations), images, str(annotations)), [])


def _has_keypoints(annotation: dict) -> bool:
    number = annotation.get('num_keypoints')
    return isinstance(number, int) and number > 0


def read_coco(folder: Path, workers: int) -> Found:
    """COCO: persons of train2017 with at least one labeled keypoint, no crowds.

    This is the rule under which train2017 has the 149,813 persons of Table IX; with those that
    have no keypoints there would be more than 250,000.
    """
    annotations = find_one(folder, 'person_keypoints_train2017.json')
    crops = coco_persons(load_json(annotations), str(annotations), _has_keypoints)
    images = _within(find_one(folder, 'train2017/'), folder)
    return Found([Crop(f'{images}/{crop.path}', crop.box) for crop in crops], [])


def mask_boxes(mask: np.ndarray) -> list[Box]:
    """Return the tight box of every id above 0 in an (h, w) label map, by ascending id."""
    boxes = []
    for identity in np.unique(mask):
        if identity > 0:
            rows = np.flatnonzero((mask == identity).any(1))
            columns = np.flatnonzero((mask == identity).any(0))
            boxes.append(
                (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            )
    return boxes


def read_mask(path: Path, any_label: bool) -> list[Box] | str:
    """Read the boxes of a label map.

    Args:
        path: a PNG, of one channel, a palette, or several channels.
        any_label: take everything above 0 as one person, else every value as a person.

    Returns:
        The boxes, or the reason why the file cannot be read.
    """
    try:
        labels = np.asarray(open_image(path.read_bytes()))
    except (ImageError, OSError, SyntaxError, ValueError) as error:
        return f'label map: {error}'
    if labels.ndim == 3:
        labels = labels.max(2)
    return mask_boxes(labels > 0 if any_label else labels)


def _from_masks(
    masks: Iterable[Path], image_of: Callable[[Path], str], any_label: bool, workers: int
) -> Found:
    paths = sorted(masks)
    read = partial(read_mask, any_label=any_label)
    found = Found([], [])
    for path, boxes in zip(
        paths, parallel_map(read, paths, workers, 'label maps'), strict=True
    ):
        if isinstance(boxes, str):
            found.rejected.append(Rejected(str(path), boxes))
        else:
            found.crops.extend(Crop(image_of(path), box) for box in boxes)
    return found


def read_cihp(folder: Path, workers: int) -> Found:
    """CIHP: the tight box of every person id in ``Training/Human_ids/*.png``."""
    training = find_one(folder, 'Training/')
    images = _within(training / 'Images', folder)
    masks = (training / 'Human_ids').glob('*.png')
    return _from_masks(masks, lambda path: f'{images}/{path.stem}.jpg', False, workers)


def read_mhp(folder: Path, workers: int) -> Found:
    """MHPv2: the tight box of the labeled pixels of every ``train/parsing_annos/*.png``.

    These files hold one person each and are called IMAGE_PERSONS_PERSON.png.
    """
    train = find_one(folder, 'train/')
    images = _within(train / 'images', folder)
    masks = (train / 'parsing_annos').glob('*_*_*.png')
    return _from_masks(
        masks, lambda path: f'{images}/{path.stem.rsplit("_", 2)[0]}.jpg', True, workers
    )


def parse_odgt(text: str, images: str, where: str) -> list[Crop]:
    """Read CrowdHuman's annotations: one JSON object per line.

    Raises:
        DataError: a line is malformed.
    """
    crops = []
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        place = f'{where}, line {number}'
        record = parse_odgt_line(line, place)
        for person in filter(is_person, record['gtboxes']):
            box = clip_box(*read_box(person, 'vbox', place), None)
            if box is not None:
                crops.append(Crop(f'{images}/{record["ID"]}.jpg', box))
    return crops


def read_crowdhuman(folder: Path, workers: int) -> Found:
    """CrowdHuman: the visible box (``vbox``) of every person of the training set.

    Boxes with the tag ``mask`` or the mark ``ignore`` (crowds, statues, reflections) are not
    persons. The visible box is taken, not the full one: in a crowd, most of a full box shows
    other people or lies outside of the image.
    """
    annotations = find_one(folder, 'annotation_train.odgt')
    images = _within(find_one(folder, 'Images/'), folder)
    return Found(parse_odgt(read_text(annotations), images, str(annotations)), [])


def parse_fashionpedia(document: object, images: str, where: str) -> list[Crop]:
    """Return one crop per image: the union of the boxes of all its garments and parts.

    Raises:
        DataError: the document is malformed.
    """
    unions: dict[str, Box] = {}
    for found in coco_boxes(document, where, lambda row: True):
        box = clip_box(*found.bbox, found.size)
        if box is not None:
            old = unions.get(found.file_name, box)
            unions[found.file_name] = (
                min(old[0], box[0]),
                min(old[1], box[1]),
                max(old[2], box[2]),
                max(old[3], box[3]),
            )
    return [Crop(f'{images}/{name}', box) for name, box in unions.items()]


def read_fashionpedia(folder: Path, workers: int) -> Found:
    """Fashionpedia has no person box: one crop per image, the union of its boxes."""
    annotations = find_one(folder, 'instances_attributes_train2020.json')
    images = _within(find_one(folder, 'train/'), folder)
    return Found(parse_fashionpedia(load_json(annotations), images, str(annotations)), [])


def read_humanart(folder: Path, workers: int) -> Found:
    """HumanArt: the person boxes of ``training_humanart.json``, natural and artificial scenes.

    Its file names begin with the folder ``HumanArt``. The file that mixes COCO in is not read.
    """
    annotations = find_one(folder, 'training_humanart.json')
    crops = coco_persons(load_json(annotations), str(annotations))
    names = ((c.path.removeprefix('HumanArt/'), c.box) for c in crops)
    return Found([Crop(f'{folder.name}/{name}', box) for name, box in names], [])


SOURCES = {
    'AIC': Source(378_352, read_aic),
    'COCO': Source(149_813, read_coco),
    'CIHP': Source(93_207, read_cihp),
    'MHPv2': Source(41_056, read_mhp),
    'CrowdHuman': Source(428_109, read_crowdhuman),
    'Fashionpedia': Source(45_623, read_fashionpedia),
    'HumanArt': Source(81_976, read_humanart),
}
