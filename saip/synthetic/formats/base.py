"""What all writers share: sizes, folders that appear complete, images on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from saip.errors import InputError, MissingFileError

from ..folder import CONTACT_SHEET, write_folder
from ..rendered_crop import encode_jpeg

SIZES = ('tiny', 'small')
# Raise it whenever the same arguments give other files: a finished set is recognized by it.
VERSION = 1
# Numbers of scenes and identities of different sets and splits lie this far apart.
APART = 100_000

Count = TypeVar('Count')


def write_native(
    out: str | os.PathLike[str],
    name: str,
    sizes: Mapping[str, Count],
    size: str,
    seed: int,
    fill: Callable[[Path, Count], np.ndarray],
) -> bool:
    """Make a folder with a set and its contact sheet.

    Args:
        out: folder to make. One with the same finished set is left as it is.
        name: of the format.
        sizes: what the sizes mean for this set.
        size: one of them.
        seed: another seed gives other people and images.
        fill: writes the set into a folder and returns its contact sheet, (H, W, 3) uint8 RGB.

    Returns:
        True if the set was written, False if it was there already.

    Raises:
        ValueError: no such size, a negative seed, or ``out`` holds something else.
    """
    if size not in sizes:
        raise InputError(f'no size {size!r} of {name}: take one of {", ".join(sizes)}')
    if seed < 0:
        raise InputError(f'the seed of {name} must be at least 0, not {seed}')
    stamp = {'format': name, 'version': VERSION, 'size': size, 'seed': seed}

    def write(root: Path) -> None:
        sheet = fill(root, sizes[size])
        (root / CONTACT_SHEET).write_bytes(encode_png(sheet[..., ::-1]))

    return write_folder(out, stamp, write)


def encode_png(image: np.ndarray) -> bytes:
    """Encode an (h, w) or an (h, w, 3) BGR uint8 image as PNG.

    Raises:
        RuntimeError: OpenCV could not encode it.
    """
    done, data = cv2.imencode('.png', image)
    if not done:
        raise RuntimeError(f'cannot encode an image of shape {image.shape} as PNG')
    return data.tobytes()


def save_jpeg(path: Path, image: np.ndarray, quality: int) -> None:
    """Write an (h, w, 3) uint8 RGB image, and the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(image, quality))


def load_image(path: Path, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Read back an image that was written here, as OpenCV does.

    Raises:
        FileNotFoundError: it is not there.
    """
    image = cv2.imread(str(path), flags)
    if image is None:
        raise MissingFileError(f'{path} is no image')
    return np.asarray(image)


def load_rgb(path: Path) -> np.ndarray:
    """Read back an image that was written here, (h, w, 3) uint8 RGB."""
    return np.ascontiguousarray(load_image(path)[..., ::-1])


def save_json(path: Path, document: Any) -> None:
    """Write a JSON file, and the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding='utf-8')
