"""Images whose pixels are numbers of labels, checked as they are read."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from saip.datasets.crops import DataError
from saip.errors import MissingFileError


def read_label_map(
    path: str,
    num_labels: int,
    image: str,
    size: tuple[int, int],
    ignored: int | None = None,
) -> np.ndarray:
    """Return the labels (h, w) uint8 of a gray image, or the indices of one with a palette.

    Args:
        path: of the file.
        num_labels: labels are 0 to ``num_labels - 1``.
        image: path of the image that the labels belong to, for messages.
        size: (h, w) of that image.
        ignored: a further label that may occur, of pixels to ignore.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is no image, has colors instead of labels, a label out of range, or
            another size than the image.
    """
    labels = _decode(path)
    if labels.ndim != 2:
        raise DataError(
            f'{path}: {labels.shape[-1]} channels; a label map has one, whose gray values (or '
            'palette indices) are the numbers of the parts'
        )
    if labels.shape != tuple(size):
        raise DataError(
            f'{path}: {labels.shape[1]} x {labels.shape[0]} pixels, but its image {image} has '
            f'{size[1]} x {size[0]}; both must be of the same size'
        )
    found = labels.astype(np.uint8)
    table = np.zeros(256, bool)
    table[:num_labels] = True
    if ignored is not None:
        table[ignored] = True
    # In the numbers of the file: eight bits of others would read 261 as 5 and 2.5 as 2.
    known = table[found] & (labels == found)
    if not known.all():
        wrong = labels[~known]
        also = '' if ignored is None else f', or {ignored} for pixels to ignore'
        raise DataError(f'{path}: label {wrong.max()}, 0 to {num_labels - 1} expected{also}')
    return found


def _decode(path: str) -> np.ndarray:
    """Return the gray values or palette indices of a file, as wide as they are in it."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: no such file') from error
    try:
        with Image.open(BytesIO(content)) as image:
            return np.array(image)
    except (OSError, SyntaxError) as error:  # what Pillow raises about damaged files
        raise DataError(f'{path}: not a readable PNG ({error}); copy it again') from error
