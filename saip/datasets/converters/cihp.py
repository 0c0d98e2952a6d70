"""CIHP as its authors publish it, turned into the form that Parsing R-CNN published.

The download has one map of labels and one of people for each image. A person's label map is the
first where the second has the person's number. Numbers of people may have gaps.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saip.datasets.canvas import image_size
from saip.datasets.cihp import PARTS
from saip.datasets.crops import DataError
from saip.datasets.files import SYNTHETIC, require_files, write_atomic
from saip.datasets.label_maps import read_label_map
from saip.datasets.parallel import parallel_map
from saip.errors import InputError, MissingFileError

SPLITS = {'train': 'Training', 'val': 'Validation'}
RAW_LAYOUT = (
    'instance-level_human_parsing is a folder with Training/ and Validation/, each with '
    'Images/*.jpg, Category_ids/*.png, Human_ids/*.png, and train_id.txt or val_id.txt that lists '
    'file names without their ending'
)


@dataclass(frozen=True)
class Split:
    """A split of the download, and where it goes."""

    name: str
    source: Path
    target: Path


def convert_cihp(source: Path, target: Path, workers: int = 1) -> dict[str, tuple[int, int]]:
    """Write the folder that :class:`saip.CIHP` reads; the annotations come last.

    Images are linked where the file system can, and copied elsewhere.

    Args:
        source: the unpacked ``instance-level_human_parsing``.
        target: the folder to write.
        workers: number of processes.

    Returns:
        Numbers of images and people of each split.

    Raises:
        FileNotFoundError: a folder or a file is missing.
        DataError: a list names nothing, a file is no label map, has a label out of range, or
            another size than its image.
        InputError: ``target`` is a file, or the same as ``source``.
    """
    if target.is_file() or target.resolve() == source.resolve():
        raise InputError(f'{target}: not a folder of its own to write to')
    splits = [Split(name, source / folder, target) for name, folder in SPLITS.items()]
    listed = {split.name: _names(split) for split in splits}
    counts = {}
    for split in splits:
        names = listed[split.name]
        convert = functools.partial(_convert, split)
        rows = parallel_map(convert, names, workers, f'{split.name} images of CIHP')
        document = _document(names, rows)
        text = json.dumps(document)
        write_atomic(target / 'annotations' / f'CIHP_{split.name}.json', text.encode())
        counts[split.name] = len(names), len(document['annotations'])
    if (source / SYNTHETIC).is_file():  # figures on it stay marked as such
        write_atomic(target / SYNTHETIC, (source / SYNTHETIC).read_bytes())
    return counts


def _names(split: Split) -> list[str]:
    """Return the names of a split's list, after a look for their files."""
    path = split.source / f'{split.name}_id.txt'
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {RAW_LAYOUT}')
    names = path.read_text(encoding='utf-8').split()
    if not names:
        raise DataError(f'{path}: names no image. {RAW_LAYOUT}')
    for places in zip(*(_files(split, name) for name in names), strict=True):
        require_files(map(str, places), str(path), RAW_LAYOUT)
    return names


def _files(split: Split, name: str) -> tuple[Path, Path, Path]:
    """Return the image, its labels and its people."""
    return (
        split.source / 'Images' / f'{name}.jpg',
        split.source / 'Category_ids' / f'{name}.png',
        split.source / 'Human_ids' / f'{name}.png',
    )


def _convert(split: Split, name: str) -> dict[str, Any]:
    """Write the files of an image, and return what the annotations say of it."""
    image, category_path, human_path = _files(split, name)
    size = image_size(image)
    labels = read_label_map(str(category_path), len(PARTS), str(image), size)
    # Numbers of people are labels of another kind: eight bits of them.
    humans = read_label_map(str(human_path), 256, str(image), size)
    _link(image, split.target / f'{split.name}_img' / image.name)
    _write(split.target / f'{split.name}_seg' / f'{name}.png', labels)
    people = []
    for number in np.unique(humans[labels > 0]):
        if number == 0:  # labels of no person
            continue
        parsing = np.where(humans == number, labels, 0).astype(np.uint8)
        file_name = f'{name}-{number}.png'
        _write(split.target / f'{split.name}_parsing' / file_name, parsing)
        people.append({**_extent(parsing), 'parsing': file_name})
    return {'size': size, 'people': people}


def _extent(parsing: np.ndarray) -> dict[str, Any]:
    """Return the box x, y, width, height of the labels, and their number of pixels."""
    rows, columns = (np.flatnonzero(parsing.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {'bbox': box, 'area': int(np.count_nonzero(parsing))}


def _document(names: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        height, width = row['size']
        file = {'file_name': f'{name}.jpg', 'height': height, 'width': width}
        images.append({'id': number, **file})
        for person in row['people']:
            kind = {'image_id': number, 'category_id': 1, 'iscrowd': 0}
            annotations.append({'id': len(annotations) + 1, **kind, **person})
    category = {'id': 1, 'name': 'person', 'supercategory': 'person', 'parsing': list(PARTS)}
    return {'images': images, 'annotations': annotations, 'categories': [category]}


def _write(path: Path, labels: np.ndarray) -> None:
    buffer = BytesIO()
    Image.fromarray(labels).save(buffer, 'PNG')
    write_atomic(path, buffer.getvalue())


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that is impossible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
