"""Reading the annotation files of attribute data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saip.datasets.coco import load_json
from saip.datasets.crops import DataError
from saip.datasets.matlab import Value, read_mat
from saip.errors import InputError, MissingFileError

SPLITS = ('train', 'val', 'test')
"""The parts that the published files know; ``trainval`` is the first two together."""

PA100K_LAYOUT = 'PA-100K is a folder with annotation.mat and data/000001.jpg to data/100000.jpg'
PETA_LAYOUT = (
    'PETA is a folder with the images images/00001.png to images/19000.png and peta_zs.json, '
    'which tools/dataset_converters/make_petazs.py makes from the published dataset_zs_run0.pkl'
)

UNKNOWN = 2
"""Label of an attribute that the annotators could not tell; it counts as absent."""

_LABELS = 'allowed are 0 (no), 1 (yes) and 2 (unknown, counted as no)'


class Annotations(NamedTuple):
    """Labeled images.

    Attributes:
        names: N file names.
        labels: (N, A) uint8, 1 where an image shows an attribute, else 0.
        attributes: names of the A attributes.
    """

    names: list[str]
    labels: np.ndarray
    attributes: tuple[str, ...]


def parts_of(split: str) -> tuple[str, ...]:
    """Return the published parts that a split consists of.

    Raises:
        ValueError: there is no such split.
    """
    if split == 'trainval':
        return ('train', 'val')
    if split in SPLITS:
        return (split,)
    raise InputError(f"split={split!r}: choose 'train', 'val', 'trainval' or 'test'")


def read_pa100k(path: str | Path, split: str, count: int) -> Annotations:
    """Read ``annotation.mat`` of PA-100K.

    Its variables are ``attributes`` and, for each of train, val and test,
    ``<part>_images_name`` and ``<part>_label``; texts are cells of a column.

    Args:
        path: the file.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        count: number of attributes that the data set has.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is of another kind, or its content does not fit together.
        ValueError: there is no such split.
    """
    parts = parts_of(split)
    wanted = [f'{part}_{kind}' for part in parts for kind in ('images_name', 'label')]
    mat = _load_mat(Path(path), ['attributes', *wanted])
    attributes = tuple(_texts(mat['attributes'], f'{path}: attributes'))
    names: list[str] = []
    labels: list[np.ndarray] = []
    for part in parts:
        part_names = _texts(mat[f'{part}_images_name'], f'{path}: {part}_images_name')
        rows = mat[f'{part}_label']
        if not isinstance(rows, np.ndarray):
            raise DataError(f'{path}: {part}_label holds no numbers')
        if rows.ndim != 2 or len(rows) != len(part_names):
            raise DataError(
                f'{path}: {part}_label has shape {rows.shape}, but {part}_images_name names '
                f'{len(part_names)} images; there must be a row for each'
            )
        if rows.shape[1] != count:
            raise DataError(
                f'{path}: {part}_label has labels for {rows.shape[1]} attributes; this data set '
                f'has {count}'
            )
        names += part_names
        labels.append(rows)
    merged = np.concatenate(labels)
    return _checked(path, names, merged, attributes, count)


def read_attribute_json(path: str | Path, split: str, count: int) -> Annotations:
    """Read a JSON file that ``tools/dataset_converters/make_petazs.py`` has written.

    It holds ``{"metainfo": {"attributes": [...]}, "data_list": [{"img_path": "00001.png",
    "gt_score": [0, 1, ...], "split": "train"}, ...]}``.

    Args:
        path: the file.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        count: number of attributes that the data set has.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is of another kind, or its content does not fit together.
        ValueError: there is no such split.
    """
    parts = parts_of(split)
    if not Path(path).is_file():
        raise MissingFileError(f'{path}: no such annotation file. {PETA_LAYOUT}')
    attributes, entries = _tables(load_json(path), path)
    names: list[str] = []
    rows: list[list[int]] = []
    for number, entry in enumerate(entries):
        name, scores, part = _entry(entry, f'{path}: data_list[{number}]', count)
        if part in parts:
            names.append(name)
            rows.append(scores)
    labels = np.asarray(rows, np.int64).reshape(len(names), count)
    return _checked(path, names, labels, attributes, count)


def _tables(content: object, path: str | Path) -> tuple[tuple[str, ...], list[Any]]:
    """Return the names of the attributes and the entries of a JSON file."""
    metainfo = content.get('metainfo') if isinstance(content, dict) else None
    attributes = metainfo.get('attributes') if isinstance(metainfo, dict) else None
    entries = content.get('data_list') if isinstance(content, dict) else None
    if (
        not isinstance(attributes, list)
        or not all(isinstance(name, str) for name in attributes)
        or not isinstance(entries, list)
    ):
        raise DataError(
            f'{path}: not such a file as tools/dataset_converters/make_petazs.py writes, with '
            'metainfo.attributes, a list of names, and a list data_list'
        )
    return tuple(attributes), entries


def _entry(entry: object, where: str, count: int) -> tuple[str, list[int], str]:
    """Return image, labels and part of an entry of a JSON file."""
    if not isinstance(entry, dict):
        raise DataError(
            f'{where} is {entry!r:.40}, not an object with img_path, gt_score, split'
        )
    name, scores, part = (entry.get(key) for key in ('img_path', 'gt_score', 'split'))
    if not isinstance(name, str) or not name or '\0' in name:
        raise DataError(f'{where} has img_path {name!r:.40}, not the name of a file')
    if not isinstance(part, str) or part not in SPLITS:
        raise DataError(f'{where}: unknown split {part!r:.40}; allowed: {", ".join(SPLITS)}')
    if not isinstance(scores, list) or len(scores) != count:
        held = f'{len(scores)} values' if isinstance(scores, list) else f'{scores!r:.40}'
        raise DataError(
            f'{where} ({name:.40}): gt_score has {held}; a list of {count} is needed'
        )
    for column, score in enumerate(scores):
        if type(score) is not int or score not in (0, 1, UNKNOWN):
            raise DataError(
                f'{where} ({name:.40}): gt_score[{column}] is {score!r:.40}; {_LABELS}'
            )
    return name, scores, part


def _load_mat(path: Path, variables: list[str]) -> dict[str, Value]:
    """Read these variables of a MATLAB file."""
    if not path.is_file():
        raise MissingFileError(f'{path}: no such annotation file. {PA100K_LAYOUT}')
    try:
        mat = read_mat(path, variables)
    except DataError as error:
        raise DataError(f'{error}; take annotation.mat as it is published') from error
    missing = [name for name in variables if name not in mat]
    if missing:
        raise DataError(
            f'{path}: has no variable {", ".join(missing)}; annotation.mat of PA-100K has '
            'attributes, and <part>_images_name and <part>_label for train, val and test'
        )
    return mat


def _texts(cells: Value, where: str) -> list[str]:
    """Return the texts of a column of cells."""
    if not isinstance(cells, list):
        raise DataError(f'{where}: holds no cells')
    texts: list[str] = []
    for cell in cells:
        text = cell.strip() if isinstance(cell, str) else ''
        if not text or '\0' in text:
            raise DataError(f'{where}: cell {len(texts) + 1} holds {cell!r:.40}, not one text')
        texts.append(text)
    return texts


def _checked(
    path: str | Path,
    names: list[str],
    labels: np.ndarray,
    attributes: tuple[str, ...],
    count: int,
) -> Annotations:
    """Compare what belongs together, and turn unknown labels into absent ones."""
    if not names:
        raise DataError(f'{path}: names no image of this split')
    if len(attributes) != count or labels.shape != (len(names), count):
        labeled = ' x '.join(map(str, labels.shape[1:]))
        raise DataError(
            f'{path}: has {len(attributes)} attributes and labels for {labeled}; this data set '
            f'has {count}'
        )
    strange = np.argwhere(~np.isin(labels, (0, 1, UNKNOWN)))
    if len(strange):
        row, column = strange[0]
        raise DataError(
            f'{path}: {names[row]} has label {labels[row, column]} for {attributes[column]}; '
            f'{_LABELS}'
        )
    return Annotations(names, (labels == 1).astype(np.uint8), attributes)
