"""What a pickle of plain values may call: arrays, scalars, bytes, ranges and dicts.

Code of this module does what the names of the file stand for, with arguments that it has checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import crops

MAX_DEPTH, MAX_VALUES = 8, 1_000_000
"""Depth and number of the values of a file."""

ARRAY, DTYPE, RECONSTRUCT, BUFFER, SCALAR, ENCODE, NO_BYTES, FIELDS, RANGE = (
    'ndarray',
    'dtype',
    '_reconstruct',
    '_frombuffer',
    'scalar',
    'encode',
    'bytes',
    'EasyDict',
    'range',
)
NAMES = {
    ('numpy', 'ndarray'): ARRAY,
    ('numpy', 'dtype'): DTYPE,
    ('_codecs', 'encode'): ENCODE,  # how old protocols store bytes
    ('__builtin__', 'bytes'): NO_BYTES,  # and that there are none
    ('easydict', 'EasyDict'): FIELDS,  # a dict
    ('builtins', 'range'): RANGE,
    ('__builtin__', 'xrange'): RANGE,
}
for _core in ('core', '_core'):  # numpy 1 and 2
    NAMES['numpy.' + _core + '.multiarray', '_reconstruct'] = RECONSTRUCT
    NAMES['numpy.' + _core + '.multiarray', 'scalar'] = SCALAR
    NAMES['numpy.' + _core + '.numeric', '_frombuffer'] = BUFFER

TYPES = re.compile(r'[fiu][248]|[iub]1|O8|[SU][1-9]\d{0,3}')
"""Types of arrays; texts are at most 9,999 characters."""

ORDERS = '<>|='


class RefusedError(crops.DataError):
    """A file that is no plain array of lists, dicts, numbers, texts and arrays."""


@dataclass(frozen=True)
class Name:
    """One of the allowed names; it is never looked up."""

    word: str


@dataclass
class Array:
    """An array whose shape, type and content come later."""

    value: Any = None


@dataclass
class Type:
    """A data type, such as ``<f4``."""

    code: str
    order: str = '|'


def numbers(shape: Any, kind: Any, content: Any, fortran: bool = False) -> np.ndarray:
    """An array from its bytes; a text stands for bytes in pickles of Python 2."""
    if not isinstance(kind, Type) or kind.code == 'O8':
        raise RefusedError('numbers without a type')
    if isinstance(content, str):
        content = content.encode('latin1')
    dtype = np.dtype(kind.order + kind.code)
    check_shape(shape, len(content) // dtype.itemsize)
    if not content:
        return np.empty(shape, dtype)
    flat = np.frombuffer(content, dtype)
    return flat.reshape(shape, order='F' if fortran else 'C').copy()


def check_shape(shape: Any, count: int) -> None:
    """Refuse a shape of another number of values, and one that hides sizes behind a zero."""
    if not isinstance(shape, tuple) or len(shape) > MAX_DEPTH:
        raise RefusedError('an array whose shape is none')
    largest = max(count, MAX_VALUES)
    sized = all(isinstance(size, int) and 0 <= size <= largest for size in shape)
    if not sized or math.prod(shape) != count:
        raise RefusedError(f'an array of another shape than that of its {count:,} values')


def nested(items: list[Any], shape: list[int]) -> Any:
    """A flat list as lists of lists."""
    if not shape:
        return items[0]
    if not items:
        return []
    step = len(items) // shape[0]
    return [nested(items[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    if not isinstance(text, str) or encoding != 'latin1':
        raise RefusedError('bytes in another encoding than latin1')
    return text.encode('latin1')


def _type(code: Any, align: Any = False, copy: Any = True) -> Type:
    if not isinstance(code, str) or not TYPES.fullmatch(code):
        named = code[:20] if isinstance(code, str) else type(code).__name__
        raise RefusedError(f'an array of type {named}')
    return Type(code)


def _scalar(kind: Any, content: Any) -> Any:
    return numbers((), kind, content).item()


def _array(kind: Any, shape: Any, code: Any) -> Array:
    if kind != Name(ARRAY):
        raise RefusedError('it makes what is no array')
    return Array()


def _buffer(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    return numbers(shape, kind, content, order == 'F')


def _range(*arguments: Any) -> np.ndarray:
    found = range(*arguments)
    if max(len(found), abs(found.start), abs(found.stop)) > MAX_VALUES:
        raise RefusedError(f'it asks for {found}')
    return np.array(found, np.int64)


def _no_bytes() -> bytes:
    return b''


def _fields() -> dict[Any, Any]:
    return {}


def _not_called(*arguments: Any) -> Any:
    raise RefusedError('it calls numpy.ndarray')


CALLS: dict[str, Callable[..., Any]] = {
    ARRAY: _not_called,
    DTYPE: _type,
    RECONSTRUCT: _array,
    BUFFER: _buffer,
    SCALAR: _scalar,
    ENCODE: _encode,
    NO_BYTES: _no_bytes,
    FIELDS: _fields,
    RANGE: _range,
}
