"""The published zero-shot split of PETA, a pickle, turned into plain JSON.

``dataset_zs_run0.pkl`` of Jia et al. (2021) is a pickled ``easydict.EasyDict``. A pickle may run
any code, so this one is not executed: see :mod:`saip.datasets.converters.plain_pickle`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saip.datasets.converters.plain_pickle import RefusedError, read_plain
from saip.datasets.files import write_atomic
from saip.downstream.attributes.annotations import SPLITS, UNKNOWN
from saip.errors import InputError, MissingFileError

MAX_BYTES = 1 << 26
"""Largest file that is read: PETA has 19,000 images, with at most 105 labels of 8 bytes."""


def convert_petazs(source: str | Path, target: str | Path) -> dict[str, int]:
    """Write the JSON file that :class:`saip.PETAZeroShot` reads.

    Args:
        source: the published pickle.
        target: the JSON file.

    Returns:
        Number of images of each part.

    Raises:
        FileNotFoundError: there is no such pickle.
        ValueError: it asks for code, or its content does not fit together.
    """
    content = _read(Path(source))
    try:
        names = _names(content['image_name'])
        attributes = _names(content['attr_name'])
        labels = np.asarray(content['label'])
        parts = {part: _rows(content['partition'][part]) for part in SPLITS}
        # Only where colors and other attributes are in the file as well.
        chosen = content.get('label_idx', {}).get('eval', range(len(attributes)))
        evaluated = [int(column) for column in np.ravel(chosen)]
    except (
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        ValueError,
        OverflowError,
    ) as error:
        raise InputError(
            f'{source}: not the published split of PETA, which has image_name, attr_name, label '
            f'and partition with train, val and test ({type(error).__name__}: {error})'
        ) from error
    _check(source, names, attributes, labels, parts)
    if not all(0 <= column < len(attributes) for column in evaluated):
        raise InputError(
            f'{source}: label_idx.eval has columns that are none of the attributes'
        )
    if len(set(evaluated)) < len(evaluated):
        raise InputError(f'{source}: label_idx.eval has a column twice')
    labels = np.where(labels == UNKNOWN, 0, labels)[:, evaluated]
    data_list = [
        {'img_path': names[row], 'gt_score': [int(v) for v in labels[row]], 'split': part}
        for part in SPLITS
        for row in parts[part]
    ]
    metainfo = {'attributes': [attributes[i] for i in evaluated]}
    text = json.dumps({'metainfo': metainfo, 'data_list': data_list})
    write_atomic(target, text.encode())
    return {part: len(parts[part]) for part in SPLITS}


def _read(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file; it is published as dataset_zs_run0.pkl')
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path}: larger than {MAX_BYTES:,} bytes, so not the split of PETA')
    try:
        return read_plain(path.read_bytes())
    except RefusedError as error:
        raise InputError(
            f'{path}: refused: {error}; only containers, numbers and texts are read'
        ) from error


def _names(values: Any) -> list[str]:
    """Texts of a list or an array of texts, or of bytes as Python 2 wrote them.

    Raises:
        TypeError: it is neither, or holds something else.
    """
    if not isinstance(values, list | tuple | np.ndarray):
        raise TypeError(f'a list of names is needed, not {type(values).__name__}')
    texts = [name.decode('latin1') if isinstance(name, bytes) else name for name in values]
    if not all(isinstance(name, str) for name in texts):
        raise TypeError('names that are no texts')
    return [str(name) for name in texts]  # of numpy's texts Python's


def _rows(partition: Any) -> list[int]:
    """Row numbers of a part; where the file lists several splits, the first is the one in use."""
    first = partition[0] if isinstance(partition, list) else partition
    return [int(row) for row in np.ravel(np.asarray(first))]


def _check(
    source: str | Path,
    names: Sequence[str],
    attributes: Sequence[str],
    labels: np.ndarray,
    parts: dict[str, list[int]],
) -> None:
    if labels.dtype.kind not in 'biuf' or not np.isin(labels, (0, 1, UNKNOWN)).all():
        raise InputError(f'{source}: label has values other than 0, 1 and {UNKNOWN} (unknown)')
    if labels.shape != (len(names), len(attributes)):
        raise InputError(
            f'{source}: label has shape {labels.shape}, but there are {len(names)} images and '
            f'{len(attributes)} attributes'
        )
    rows = [row for part in parts.values() for row in part]
    if rows and not (min(rows) >= 0 and max(rows) < len(names)):
        raise InputError(
            f'{source}: partition has rows {min(rows)} to {max(rows)}; there are {len(names)}'
        )
    if len(set(rows)) < len(rows):
        raise InputError(f'{source}: an image is in more than one part of partition')
