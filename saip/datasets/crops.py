"""What a data set of person images is made of: an image and, for a crop, a box in it."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import NamedTuple

from saip.errors import InputError

Box = tuple[int, int, int, int]
"""``(x0, y0, x1, y1)`` in pixels of the upright image; the ends are exclusive."""


class DataError(InputError):
    """A list, an annotation file or a manifest does not hold what it should."""


class Crop(NamedTuple):
    """One sample of a data set.

    Attributes:
        path: of the image, relative to the set's root, with forward slashes (or an LMDB key).
        box: the part of the image that is the sample; None for the whole image.
    """

    path: str
    box: Box | None = None


def path_hash(path: str) -> int:
    """Hash a relative path to 63 bits, the same on every machine and in every order."""
    digest = blake2b(path.encode('utf-8', 'surrogateescape'), digest_size=8).digest()
    return int.from_bytes(digest, 'big') >> 1


def crop_key(crop: Crop) -> int:
    """Hash the path and the box of a sample to 63 bits."""
    if crop.box is None:
        return path_hash(crop.path)
    return path_hash(crop.path + '#' + ','.join(map(str, crop.box)))


def pack_crop(crop: Crop) -> bytes:
    """Write a sample in few bytes: the box, which may be empty, a zero byte, the path."""
    box = '' if crop.box is None else ','.join(map(str, crop.box))
    return f'{box}\0{crop.path}'.encode('utf-8', 'surrogateescape')


def unpack_crop(packed: bytes) -> Crop:
    """Inverse of :func:`pack_crop`."""
    box, _, path = packed.decode('utf-8', 'surrogateescape').partition('\0')
    if not box:
        return Crop(path)
    x0, y0, x1, y1 = map(int, box.split(','))
    return Crop(path, (x0, y0, x1, y1))


def clip_box(
    x: float, y: float, width: float, height: float, size: tuple[int, int] | None
) -> Box | None:
    """Round a box outwards to whole pixels and clip it to its image.

    Args:
        x: left edge in pixels.
        y: upper edge in pixels.
        width: in pixels.
        height: in pixels.
        size: (width, height) of the image; None if unknown, then only negative coordinates
            are cut off.

    Returns:
        The box, or None if nothing of it lies in the image.
    """
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    x0, y0 = max(math.floor(x), 0), max(math.floor(y), 0)
    x1, y1 = math.ceil(x + width), math.ceil(y + height)
    if size is not None:
        x1, y1 = min(x1, size[0]), min(y1, size[1])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
