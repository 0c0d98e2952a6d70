"""The manifest of a verified set: a text file that names every usable image and its size.

The first line is ``#saip-manifest`` and a JSON object: ``version``, ``root`` (of the images,
relative to the manifest's folder), ``count``, and ``sha256`` of all that follows. Then one
line per sample, fields separated by tabs: path, width, height of the image and, for a crop,
its box x0, y0, x1, y1. Lines are sorted, so equal sets give equal files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from saip.errors import MissingFileError

from .coco import parse_json
from .crops import Crop, DataError
from .files import write_atomic

MANIFEST_NAME = 'saip_manifest.tsv'
MAGIC = '#saip-manifest '
VERSION = 1


class Entry(NamedTuple):
    """One verified sample.

    Attributes:
        crop: the image and its box.
        width: of the whole upright image, in pixels.
        height: of the whole upright image, in pixels.
    """

    crop: Crop
    width: int
    height: int


class Manifest(NamedTuple):
    """A manifest as it stands in its file.

    Attributes:
        root: of the images, relative to the folder of the manifest.
        entries: the samples in the order of the file.
    """

    root: str
    entries: list[Entry]


def manifest_root(path: str | os.PathLike[str], root: str) -> str:
    """Return where the images of the manifest at ``path`` are.

    Raises:
        FileNotFoundError: there is nothing at that place.
    """
    where = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), root))
    if not os.path.exists(where):
        raise MissingFileError(
            f'{path} lists images in {where}, which does not exist: make the manifest again, '
            'or name their place with data_prefix'
        )
    return where


def _sort_key(crop: Crop) -> tuple[str, tuple[int, ...]]:
    return crop.path, crop.box or ()


def _line(entry: Entry) -> str:
    fields = (entry.crop.path, entry.width, entry.height, *(entry.crop.box or ()))
    return '\t'.join(map(str, fields)) + '\n'


def write_manifest(
    path: str | os.PathLike[str], root: str | os.PathLike[str], entries: Iterable[Entry]
) -> None:
    """Write a manifest.

    Args:
        path: of the manifest.
        root: folder or LMDB of the images.
        entries: in any order.
    """
    ordered = sorted(entries, key=lambda entry: _sort_key(entry.crop))
    body = ''.join(map(_line, ordered)).encode()
    header = {
        'version': VERSION,
        'root': Path(os.path.relpath(root, os.path.dirname(os.path.abspath(path)))).as_posix(),
        'count': len(ordered),
        'sha256': hashlib.sha256(body).hexdigest(),
    }
    write_atomic(path, f'{MAGIC}{json.dumps(header)}\n'.encode() + body)


def _parse_header(line: bytes, path: str | os.PathLike[str]) -> dict:
    try:
        text = line.decode()
        whole = text.startswith(MAGIC)
        header = parse_json(text.removeprefix(MAGIC), str(path)) if whole else None
    except ValueError:
        header = None
    types = {'version': int, 'root': str, 'count': int, 'sha256': str}
    if not isinstance(header, dict) or not all(
        isinstance(header.get(name), kind) for name, kind in types.items()
    ):
        raise DataError(f'{path}: not a manifest of this project (see make_manifest.py)')
    if header['version'] != VERSION:
        raise DataError(f'{path}: manifest version {header["version"]}, expected {VERSION}')
    return header


def _parse_line(line: str, number: int, path: str | os.PathLike[str]) -> Entry:
    name, *fields = line.split('\t')
    try:
        numbers = list(map(int, fields))
    except ValueError:
        numbers = []
    if not name or len(numbers) not in (2, 6):
        raise DataError(f'{path}, line {number}: not a path, a size and maybe a box')
    width, height, *corners = numbers
    box = (corners[0], corners[1], corners[2], corners[3]) if corners else None
    return Entry(Crop(name, box), width, height)


def _parse_crop(line: str, number: int, path: str | os.PathLike[str]) -> Crop:
    """Read the sample of a line, leaving the size of its image out."""
    name, *fields = line.split('\t')
    if name and len(fields) == 2:
        return Crop(name)
    return _parse_line(line, number, path).crop


def _read_lines(path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Return the root of the images and the lines, after all checks of the whole file."""
    first, _, body = Path(path).read_bytes().partition(b'\n')
    header = _parse_header(first, path)
    if hashlib.sha256(body).hexdigest() != header['sha256']:
        raise DataError(
            f'{path}: its lines are not those that it was written with; make it again, or give '
            'a list (.txt) of paths'
        )
    try:
        lines = body.decode().split('\n')[:-1]
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not UTF-8 ({error.reason})') from error
    if len(lines) != header['count']:
        raise DataError(f'{path}: {len(lines)} lines, but its header counts {header["count"]}')
    if not lines:
        raise DataError(f'{path} lists no image')
    return header['root'], lines


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """Read a manifest.

    Raises:
        DataError: it is no manifest, it is malformed, it was changed, or it is empty.
    """
    root, lines = _read_lines(path)
    return Manifest(root, [_parse_line(line, i, path) for i, line in enumerate(lines, 2)])


def read_manifest_crops(path: str | os.PathLike[str]) -> tuple[str, list[Crop]]:
    """Read what training needs of a manifest, in a fifth of the time: root and samples.

    Raises:
        DataError: as :func:`read_manifest`.
    """
    root, lines = _read_lines(path)
    return root, [_parse_crop(line, i, path) for i, line in enumerate(lines, 2)]
