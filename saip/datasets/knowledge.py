"""Which attributes the garments of a category have, counted over annotations."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from saip.datasets.crops import DataError
from saip.datasets.fashionpedia import (
    CATEGORIES,
    NUM_ATTRIBUTES,
    FashionSet,
    read_fashionpedia,
)
from saip.datasets.files import write_atomic
from saip.errors import InputError, MissingFileError, one_line

NORMALIZATIONS = ('garments', 'attributes')
SHAPE = (len(CATEGORIES), NUM_ATTRIBUTES)


class Counts(NamedTuple):
    """How often attributes occur.

    Attributes:
        garments: (46,) of each category, crowds left out.
        pairs: (46, 294) of each category that have an attribute.
        attribute_ids: (294,) ids of the columns in the annotations.
        digest: SHA-256 of the annotations, in hexadecimal; empty where they are not a file.
    """

    garments: np.ndarray
    pairs: np.ndarray
    attribute_ids: np.ndarray
    digest: str = ''


def count(annotated: FashionSet) -> Counts:
    """Count categories and their attributes, without crowds."""
    garments, pairs = np.zeros(SHAPE[0], np.int64), np.zeros(SHAPE, np.int64)
    for image in annotated.images.values():
        for garment in image.garments:
            if not garment.crowd:
                garments[garment.category] += 1
                pairs[garment.category, list(garment.attributes)] += 1
    return Counts(garments, pairs, np.array(annotated.attribute_ids, np.int64))


def count_file(path: Path) -> Counts:
    """Count over an annotation file of Fashionpedia.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is of another form.
    """
    return count(read_fashionpedia(path))._replace(digest=digest_of(path))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def matrix_of(counts: Counts, normalization: str) -> np.ndarray:
    """Return the knowledge matrix (46, 294) float32, with values from 0 to 1.

    Args:
        counts: over the training set.
        normalization: ``garments``: the share of a category's garments that have the attribute;
            ``attributes``: the share that the attribute has of all attributes of the category, so
            that rows sum to 1. Rows of categories that do not occur are 0.

    Raises:
        InputError: there is no such normalization.
    """
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f'normalization={normalization!r}: no such rule; choose {" or ".join(NORMALIZATIONS)}'
        )
    pairs = counts.pairs
    totals = counts.garments if normalization == 'garments' else pairs.sum(axis=1)
    return (pairs / np.maximum(totals, 1)[:, None]).astype(np.float32)


def save_counts(path: Path, counts: Counts) -> None:
    """Write counts as an ``.npz`` file without pickles."""
    content = io.BytesIO()
    np.savez_compressed(content, **counts._asdict())
    write_atomic(path, content.getvalue())


def load_counts(path: Path) -> Counts:
    """Read what :func:`save_counts` wrote.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is no such file, or holds numbers that count nothing.
    """
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file; {how_to_make(path)}')
    try:
        with np.load(path, allow_pickle=False) as file:
            garments, pairs, identities, digest = (
                np.asarray(file[name]) for name in Counts._fields
            )
    except Exception as error:  # zipfile and numpy raise what they happen upon in damaged bytes
        raise DataError(
            f'{path}: no counts of attributes ({one_line(error)}); {how_to_make(path)}'
        ) from error
    _check((garments, pairs, identities), path)
    return Counts(garments, pairs, identities, str(digest))


def _check(counts: Sequence[np.ndarray], path: Path) -> None:
    """Check that counts can be those of annotations.

    Raises:
        DataError: another shape, or numbers that count nothing.
    """
    where, remedy = f'{path}: counts', how_to_make(path)
    shapes = tuple(part.shape for part in counts)
    if shapes != (SHAPE[:1], SHAPE, SHAPE[1:]):
        raise DataError(f'{where} of the shapes {shapes}; {remedy}')
    garments, pairs, identities = counts
    if any(part.dtype.kind not in 'iu' or part.min() < 0 for part in counts):
        raise DataError(f'{where} that are no whole numbers from 0 on; {remedy}')
    if (pairs > garments[:, None]).any():
        raise DataError(f'{where} of more garments with an attribute than there are; {remedy}')
    if (identities[1:] <= identities[:-1]).any():
        raise DataError(f'{where} by ids of attributes that do not ascend; {remedy}')


def how_to_make(path: Path) -> str:
    """Say which command writes such a file."""
    return (
        'python tools/dataset_converters/make_knowledge_matrix.py '
        f'.../instances_attributes_train2020.json {path} writes it'
    )
