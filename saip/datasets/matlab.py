"""Numbers, texts and cells of a MATLAB file of version 5 (``save -v6`` and ``-v7``).

The layout is that of MathWorks' "MAT-File Format", chapter 1. Every length is compared with the
bytes that there are, so a damaged file is a DataError that names the place; compiled readers have
ended the process on such files.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .crops import DataError

HEADER = 128
MAX_BYTES = 1 << 28
"""Of one decompressed variable: 256 MB, ten times those of PA-100K."""

MAX_DEPTH = 8
"""Of cells in cells."""

_NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8'} | {
    12: 'i8',
    13: 'u8',
}
"""NumPy types of the kinds of elements that hold numbers."""

_TEXTS = {1: 'utf-8', 2: 'utf-8', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16', 18: 'utf-32'}
"""Encodings of the kinds of elements that hold characters."""

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_CELL, _CHAR, _NUMERIC = 1, 4, range(6, 16)
"""Classes of arrays."""

_COMPLEX = 0x0800

Value = np.ndarray | str | list
"""An array of numbers, a text, or the cells of an array in the order of the file (by columns)."""


class _Element(NamedTuple):
    """A part of the file.

    Attributes:
        kind: what it holds, a number of the format.
        content: its bytes.
        end: where the next begins.
    """

    kind: int
    content: bytes
    end: int


class _DamageError(Exception):
    """What is wrong; the message of the DataError goes on with it."""


def read_mat(path: Path, variables: Sequence[str]) -> dict[str, Value]:
    """Read some variables of a file; those that it has not are left out.

    Args:
        path: the file.
        variables: names; others are passed over unread.

    Raises:
        OSError: the file cannot be read.
        DataError: it is damaged, of another kind, or a wanted variable holds something else than
            real numbers, one line of text, or cells of these.
    """
    data = path.read_bytes()
    try:
        order = _byte_order(data)
    except _DamageError as error:
        raise DataError(f'{path}: {error}') from None
    found: dict[str, Value] = {}
    at = HEADER
    while at < len(data):
        place = f'byte {at}'
        try:
            element = _element(data, at, order, padded=False)
            name, array = _variable(element, order, variables)
            place = f'variable {name}' if name.isprintable() else place
            if array is not None:
                found[name] = _array(array, order, 0)
        except _DamageError as error:
            raise DataError(f'{path}, {place}: {error}') from None
        at = element.end
    return found


def _byte_order(data: bytes) -> str:
    mark = data[126:128]
    if data[:8] == b'\x89HDF\r\n\x1a\n' or data[:10] == b'MATLAB 7.3':
        raise _DamageError('a MATLAB file of version 7.3; save it with -v7')
    if len(data) < HEADER or mark not in (b'IM', b'MI'):
        raise _DamageError('not a MATLAB file of version 5')
    order = '<' if mark == b'IM' else '>'
    (version,) = struct.unpack_from(f'{order}H', data, 124)
    if version >> 8 != 1:
        raise _DamageError(
            f'a MATLAB file of version {version:#06x}, not 0x0100; save it with -v7'
        )
    return order


def _element(data: bytes, at: int, order: str, padded: bool = True) -> _Element:
    """Read the element that begins at a place; within arrays they end at multiples of 8."""
    if at + 8 > len(data):
        raise _DamageError('it ends in the middle of an element')
    first, size = struct.unpack_from(f'{order}II', data, at)
    if first >> 16:  # a small one, which has its content in the place of its size
        kind, size, begin = first & 0xFFFF, first >> 16, at + 4
        if size > 4:
            raise _DamageError(f'a small element of {size} bytes')
        return _Element(kind, data[begin : begin + size], at + 8)
    begin = at + 8
    if begin + size > len(data):
        raise _DamageError(f'an element of {size:,} bytes where {len(data) - begin:,} are left')
    end = begin + size + (-size % 8 if padded or first != _COMPRESSED else 0)
    return _Element(first, data[begin : begin + size], end)


def _variable(
    element: _Element, order: str, variables: Sequence[str]
) -> tuple[str, bytes | None]:
    """Return name and bytes of an array of the file, None for one that is not wanted."""
    content = element.content
    if element.kind == _MATRIX:
        name = _name(content, order)
        return name, content if name in variables else None
    if element.kind != _COMPRESSED:
        raise _DamageError(f'an element of kind {element.kind}, no array')
    # The name stands near the beginning; other arrays need not be decompressed.
    beginning = _decompress(content, 4096)
    name = _name(beginning[8:], order)
    if name not in variables:
        return name, None
    whole = _element(_decompress(content, MAX_BYTES), 0, order)
    if whole.kind != _MATRIX:
        raise _DamageError(f'a compressed element of kind {whole.kind}, no array')
    return name, whole.content


def _decompress(content: bytes, limit: int) -> bytes:
    worker = zlib.decompressobj()
    try:
        data = worker.decompress(content, limit)
    except zlib.error as error:
        raise _DamageError(f'its compressed bytes are damaged ({error})') from None
    if limit == MAX_BYTES and not worker.eof:
        raise _DamageError(
            'its compressed bytes are cut off'
            if len(data) < limit
            else f'more than {limit:,} bytes'
        )
    return data


def _head(content: bytes, order: str) -> tuple[int, tuple[int, ...], int]:
    """Return class and flags of an array, its shape, and where its name begins."""
    flags = _element(content, 0, order)
    shape = _element(content, flags.end, order)
    if flags.kind != _UINT32 or len(flags.content) != 8:
        raise _DamageError('an array without flags')
    size = len(shape.content)
    if shape.kind != _INT32 or size < 8 or size % 4:
        raise _DamageError('an array without a shape')
    sides = struct.unpack(f'{order}{size // 4}i', shape.content)
    if min(sides) < 0:
        raise _DamageError(f'an array of the shape {sides}')
    return struct.unpack_from(f'{order}I', flags.content)[0], sides, shape.end


def _name(content: bytes, order: str) -> str:
    name = _element(content, _head(content, order)[2], order)
    if name.kind != _INT8:
        raise _DamageError('an array without a name')
    return name.content.decode('latin-1')


def _array(content: bytes, order: str, depth: int) -> Value:
    """Read an array; an empty one may be no bytes at all."""
    if not content:
        return np.zeros((0, 0))
    flags, shape, at = _head(content, order)
    at = _element(content, at, order).end
    kind = flags & 0xFF
    if kind == _CELL:
        if depth == MAX_DEPTH:
            raise _DamageError(f'cells in cells, more than {MAX_DEPTH} deep')
        return _cells(content, at, order, math.prod(shape), depth)
    if kind != _CHAR and (kind not in _NUMERIC or flags & _COMPLEX):
        raise _DamageError(
            f'an array of class {kind} (flags {flags >> 8 & 0xFF:#x}); real numbers, texts and '
            'cells are read'
        )
    element = _element(content, at, order)
    return (_text if kind == _CHAR else _numbers)(element, shape, order)


def _cells(content: bytes, at: int, order: str, count: int, depth: int) -> list[Value]:
    if 8 * count > len(content):
        raise _DamageError(f'{count:,} cells in {len(content):,} bytes')
    cells: list[Value] = []
    for number in range(1, count + 1):
        try:
            element = _element(content, at, order)
            if element.kind != _MATRIX:
                raise _DamageError(f'an element of kind {element.kind}, no array')
            cells.append(_array(element.content, order, depth + 1))
        except _DamageError as error:
            raise _DamageError(f'cell {number}: {error}') from None
        at = element.end
    return cells


def _text(element: _Element, shape: tuple[int, ...], order: str) -> str:
    encoding = _TEXTS.get(element.kind)
    if encoding is None or math.prod(shape) != max(shape):
        raise _DamageError(f'a text of kind {element.kind} and shape {shape}, not one line')
    if encoding != 'utf-8':
        encoding += '-le' if order == '<' else '-be'
    try:
        return element.content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _DamageError(f'a text that is not {encoding} ({error.reason})') from None


def _numbers(element: _Element, shape: tuple[int, ...], order: str) -> np.ndarray:
    kind = _NUMBERS.get(element.kind)
    if kind is None:
        raise _DamageError(f'an element of kind {element.kind}, no numbers')
    dtype = np.dtype(f'{order}{kind}')
    if math.prod(shape) * dtype.itemsize != len(element.content):
        raise _DamageError(f'{len(element.content):,} bytes for {dtype} of the shape {shape}')
    return np.frombuffer(element.content, dtype).reshape(shape, order='F')
