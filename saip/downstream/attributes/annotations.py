"""Reading the annotation files of attribute data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saip.datasets.crops import DataError
from saip.errors import InputError, MissingFileError, MissingLibraryError

SPLITS = ('train', 'val', 'test')
"""The parts that the published files know; ``trainval`` is the first two together."""

PA100K_LAYOUT = 'PA-100K is a folder with annotation.mat and data/000001.jpg to data/100000.jpg'
PETA_LAYOUT = (
    'PETA is a folder with the images images/00001.png to images/19000.png and peta_zs.json, '
    'which tools/dataset_converters/make_petazs.py makes from the published dataset_zs_run0.pkl'
)

UNKNOWN = 2
"""Label of an attribute that the annotators could not tell; it counts as absent."""


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
        rows = np.asarray(mat[f'{part}_label'])
        if rows.ndim != 2 or len(rows) != len(part_names):
            raise DataError(
                f'{path}: {part}_label has shape {rows.shape}, but {part}_images_name names '
                f'{len(part_names)} images; there must be a row for each'
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
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        attributes = tuple(content['metainfo']['attributes'])
        entries = content['data_list']
        chosen = [entry for entry in entries if entry['split'] in parts]
        others = {entry['split'] for entry in entries} - set(SPLITS)
        names = [entry['img_path'] for entry in chosen]
        rows = [entry['gt_score'] for entry in chosen]
        lengths = {len(row) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: not such a file as tools/dataset_converters/make_petazs.py writes, with '
            'metainfo.attributes, and img_path, gt_score and split for each entry of data_list '
            f'({type(error).__name__}: {error})'
        ) from error
    if others:
        raise DataError(f'{path}: unknown split {min(others)!r}; allowed: {", ".join(SPLITS)}')
    if len(lengths) > 1:
        raise DataError(f'{path}: gt_score has {sorted(lengths)} values; all need {count}')
    return _checked(path, names, np.asarray(rows), attributes, count)


def _load_mat(path: Path, variables: list[str]) -> dict[str, Any]:
    """Read these variables of a MATLAB file."""
    if not path.is_file():
        raise MissingFileError(f'{path}: no such annotation file. {PA100K_LAYOUT}')
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingLibraryError(
            f'{path}: reading it needs scipy: pip install scipy'
        ) from error
    try:
        mat = loadmat(path, variable_names=variables)
    except Exception as error:  # scipy raises what it happens upon in a damaged file
        raise DataError(
            f'{path}: not a MATLAB file that scipy.io.loadmat reads ({error}); take annotation.mat '
            'as it is published'
        ) from error
    missing = [name for name in variables if name not in mat]
    if missing:
        raise DataError(
            f'{path}: has no variable {", ".join(missing)}; annotation.mat of PA-100K has '
            'attributes, and <part>_images_name and <part>_label for train, val and test'
        )
    return mat


def _texts(cells: np.ndarray, where: str) -> list[str]:
    """Return the texts of a column of cells, each of which loadmat gives as an array."""
    texts: list[str] = []
    for cell in np.asarray(cells).ravel():
        value = np.asarray(cell)
        if value.size != 1 or not isinstance(value.item(), str):
            raise DataError(f'{where}: cell {len(texts) + 1} holds {cell!r}, not one text')
        texts.append(value.item().strip())
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
            'allowed are 0 (no), 1 (yes) and 2 (unknown, counted as no)'
        )
    return Annotations(names, (labels == 1).astype(np.uint8), attributes)
