"""Look at every image of a set once, so that training meets no surprises."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from saip.errors import InputError

from .canvas import MAX_PIXELS, ImageError, decode_image, open_image
from .crops import Crop, DataError
from .files import write_atomic
from .manifest import Entry, write_manifest
from .parallel import parallel_map
from .sources import FolderStorage, Storage

MIN_SIDE = 16

FORMAT_OF_SUFFIX = {
    '.jpg': ('JPEG', 'MPO'),
    '.jpeg': ('JPEG', 'MPO'),
    '.jpe': ('JPEG', 'MPO'),
    '.jfif': ('JPEG', 'MPO'),
    '.png': ('PNG',),
    '.bmp': ('BMP',),
    '.webp': ('WEBP',),
    '.tif': ('TIFF',),
    '.tiff': ('TIFF',),
    '.ppm': ('PPM',),
    '.pgm': ('PPM',),
    '.gif': ('GIF',),
}


class Rejected(NamedTuple):
    """Something that is left out, and why."""

    name: str
    reason: str


class Checked(NamedTuple):
    """Result of a verification: what can be used and what is left out, both sorted."""

    entries: list[Entry]
    rejected: list[Rejected]


def image_size(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Decode an image completely.

    Returns:
        (width, height) of the upright image.

    Raises:
        ImageError: it is unreadable, damaged, too large, or its suffix states another
            format than it has.
    """
    kind = open_image(data).format
    suffix = Path(name).suffix.lower()
    if kind not in FORMAT_OF_SUFFIX.get(suffix, (kind,)):
        raise ImageError(f'wrong suffix: {suffix}, but the content is {kind}')
    height, width = decode_image(data, max_pixels).shape[:2]
    return width, height


def fits_a_line(name: str) -> bool:
    """Say whether a name can stand in a field of a manifest."""
    surrogate = any('\ud800' <= character <= '\udfff' for character in name)
    return not surrogate and not any(character in name for character in '\t\n\r')


def _size_or_reason(name: str, storage: Storage, max_pixels: int) -> tuple[int, int] | str:
    if not fits_a_line(name):
        return 'the name holds a tab, a line break or bytes that are not UTF-8'
    try:
        return image_size(storage.read(name), name, max_pixels)
    except (ImageError, OSError) as error:
        return ' '.join(str(error).split())


def check_crop(crop: Crop, size: tuple[int, int], min_side: int) -> Entry | str:
    """Clip a sample to its image of the given (width, height).

    Returns:
        The entry of the manifest, or the reason why there is none.
    """
    width, height = size
    x0, y0, x1, y1 = crop.box or (0, 0, width, height)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if min(x1 - x0, y1 - y0) < min_side:
        return f'tiny: {max(x1 - x0, 0)}x{max(y1 - y0, 0)} pixels, fewer than {min_side}'
    box = None if crop.box is None else (x0, y0, x1, y1)
    return Entry(Crop(crop.path, box), width, height)


def verify(
    storage: Storage,
    crops: Sequence[Crop],
    min_side: int = MIN_SIDE,
    max_pixels: int = MAX_PIXELS,
    workers: int = 1,
) -> Checked:
    """Decode every image once and sort the samples into usable and not.

    Args:
        storage: where the images are.
        crops: the samples; several may be of one image.
        min_side: smallest width and height, in pixels, of a sample.
        max_pixels: largest width times height of an image.
        workers: number of processes.

    Raises:
        ValueError: ``min_side`` is below 1.
    """
    if min_side < 1:
        raise InputError(f'min_side must be at least 1 pixel, not {min_side}')
    names = sorted({crop.path for crop in crops})
    measure = partial(_size_or_reason, storage=storage, max_pixels=max_pixels)
    results = dict(zip(names, parallel_map(measure, names, workers, 'verify'), strict=True))
    entries: set[Entry] = set()
    rejected = {Rejected(name, r) for name, r in results.items() if isinstance(r, str)}
    for crop in crops:
        size = results[crop.path]
        if isinstance(size, str):
            continue
        checked = check_crop(crop, size, min_side)
        if isinstance(checked, str):
            rejected.add(Rejected(crop.path, checked))
        else:
            entries.add(checked)
    ordered = sorted(entries, key=lambda entry: (entry.crop.path, entry.crop.box or ()))
    return Checked(ordered, sorted(rejected))


def other_files(storage: Storage, manifest: str | os.PathLike[str]) -> list[Rejected]:
    """List the files of a folder that are passed over because of their suffix."""
    if not isinstance(storage, FolderStorage):
        return []
    ours = {os.path.abspath(path) for path in (manifest, rejected_path(manifest))}
    return [
        Rejected(name, 'wrong suffix: not one of an image')
        for name in storage.scan()[1]
        if os.path.abspath(os.path.join(storage.root, name)) not in ours
    ]


def rejected_path(manifest: str | os.PathLike[str]) -> Path:
    """Return the name of the list of what was left out of a manifest."""
    return Path(manifest).with_suffix('.rejected.tsv')


def write_checked(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str],
    entries: Sequence[Entry],
    rejected: Sequence[Rejected],
) -> None:
    """Write a manifest and, beside it, ``NAME.rejected.tsv`` (name, reason).

    Raises:
        DataError: there is no entry; then only the list of what was rejected is written.
    """
    lines = (
        f'{item.name if fits_a_line(item.name) else ascii(item.name)}\t{item.reason}\n'
        for item in rejected
    )
    write_atomic(rejected_path(path), ''.join(lines).encode())
    if not entries:
        raise DataError(
            f'nothing in {root} can be used; {rejected_path(path)} says why ({len(rejected)} '
            'lines)'
        )
    write_manifest(path, root, entries)
