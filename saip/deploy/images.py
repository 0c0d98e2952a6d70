"""Images that an export is compared, calibrated and measured on."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from saip.datasets.canvas import decode_image
from saip.datasets.sources import FolderStorage
from saip.errors import InputError, MissingFileError
from saip.structures import Grid
from saip.synthetic.market import SIZES, draw_image, list_images

FEWEST = 2
"""Images without which features have no mean to take off."""

MOST = 64
"""Images of a folder that are compared."""

EMBEDDED = 12
"""Synthetic persons that are compared where no folder is given."""


def resized(image: np.ndarray, size: Grid, resize: str) -> np.ndarray:
    """Resize a whole image with a filter of Pillow; (h, w, 3) uint8 -> (*size, 3) uint8."""
    method = Image.Resampling[resize.upper()]
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def embedded_images(size: Grid, resize: str, number: int = EMBEDDED) -> np.ndarray:
    """Draw synthetic persons, each another one or under another camera; (N, *size, 3) uint8."""
    spec = SIZES['tiny']
    plan = [image for image in list_images(spec) if image.kind == 'person'][:number]
    return _stack((decode_image(draw_image(spec, image)) for image in plan), size, resize)


def folder_images(
    folder: str | os.PathLike[str], size: Grid, resize: str, most: int = MOST
) -> np.ndarray:
    """Read images below a folder, evenly chosen among all; (N, *size, 3) uint8 RGB.

    Raises:
        MissingFileError: there is no such folder.
        InputError: it holds fewer than two images, or one that cannot be read.
    """
    if not os.path.isdir(folder):
        raise MissingFileError(f'{folder}: no such folder of images')
    storage = FolderStorage(os.fspath(folder))
    names, _ = storage.scan()
    if len(names) < FEWEST:
        raise InputError(
            f'{folder}: images in it: {len(names)}; at least {FEWEST} are needed to compare '
            'features, and about a hundred to calibrate int8'
        )
    chosen = sorted({round(i) for i in np.linspace(0, len(names) - 1, min(most, len(names)))})
    paths = (os.path.join(storage.root, names[i]) for i in chosen)
    return _stack((decode_image(path) for path in paths), size, resize)


def _stack(images: Iterable[np.ndarray], size: Grid, resize: str) -> np.ndarray:
    return np.stack([resized(image, size, resize) for image in images])
