"""MATLAB files that are the same bytes for the same content."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from saip.errors import MissingLibraryError

# The text at the head of the file; scipy would write the date into it.
_HEAD = b'MATLAB 5.0 MAT-file, synthetic persons'.ljust(116)


def save_mat(path: Path, content: dict[str, Any]) -> None:
    """Write a MAT 5 file, as ``scipy.io.loadmat`` reads it.

    Raises:
        ImportError: scipy is not installed.
    """
    try:
        from scipy.io import savemat
    except ImportError as error:
        raise MissingLibraryError(
            f'{path.name} is written by scipy: pip install scipy'
        ) from error
    memory = io.BytesIO()
    savemat(memory, content)
    path.write_bytes(_HEAD + memory.getvalue()[len(_HEAD) :])


def cell(items: list[Any]) -> np.ndarray:
    """Return a column of cells, (N, 1) object."""
    column = np.empty((len(items), 1), object)
    for row, item in zip(column, items, strict=True):
        row[0] = item
    return column
