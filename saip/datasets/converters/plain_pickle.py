"""Pickles of plain values, and object arrays of numpy (``.npy``), read without executing them.

A pickle is a program, and Python's reader runs it. Here its instructions are read one by one:
those that build lists, dicts, numbers, texts and numpy arrays are followed by code of this module,
which calls nothing that the file names; every other one is refused. Instructions and the bytes that
they make are counted, and numpy is given only what was checked, so that no file takes the reader's
time, its memory or its process.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .. import crops

MAX_BYTES = 1 << 24
"""Largest ``.npy`` file that is read; HAP's have a few kilobytes."""

MAX_DEPTH, MAX_VALUES = 8, 1_000_000
"""Depth and number of the values of a file."""

MAX_STEPS = 1_000_000
"""Instructions; a value takes two or three, and PETA has 19,000 names."""

MAX_MADE = 1 << 28
"""Bytes of all arrays and ranges that it makes; PETA's have 16 million."""

MAX_KEY = 1 << 31
"""Numbers as keys of dicts are smaller: hashes of larger ones may be made to collide."""

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
class _Name:
    """One of the allowed names; it is never looked up."""

    word: str


@dataclass
class _Array:
    """An array whose shape, type and content come later."""

    value: Any = None


@dataclass
class _Type:
    """A data type, such as ``<f4``."""

    code: str
    order: str = '|'


@dataclass
class _Machine:
    """What the instructions work on."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memory: dict[int, Any] = field(default_factory=dict)
    steps: int = 0
    made: int = 0

    def count_step(self) -> None:
        """Count an instruction."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise RefusedError(f'more than {MAX_STEPS:,} instructions')

    def count_made(self, value: Any) -> None:
        """Count the bytes of what a call or a state made; a list holds what was counted before."""
        if isinstance(value, np.ndarray):
            self.made += value.nbytes
        elif isinstance(value, bytes):
            self.made += len(value)
        if self.made > MAX_MADE:
            raise RefusedError(f'it makes more than {MAX_MADE:,} bytes')

    def pop_mark(self) -> list[Any]:
        """Take all above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> list[Any]:
        """Take the last ones."""
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise RefusedError('it takes more than it has')
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items


def read_object_array(data: bytes) -> Any:
    """Read the content of an ``.npy`` file that holds an object array.

    Returns:
        Lists in place of object arrays; arrays of numbers, dicts and so on inside.

    Raises:
        RefusedError: it is no such file, or its pickle does something else.
    """
    if len(data) > MAX_BYTES:
        raise RefusedError(f'{len(data):,} bytes, more than {MAX_BYTES:,}')
    file = BytesIO(data)
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        _, _, dtype = header(file)
    except Exception as error:  # numpy evaluates the header, and raises what it happens upon
        raise RefusedError(f'no .npy file ({error})') from error
    if dtype != np.dtype(object):
        raise RefusedError(f'an array of {dtype} and not of objects')
    return read_plain(data[file.tell() :])


def read_plain(pickle: bytes) -> Any:
    """Follow the instructions of a pickle of plain values.

    Raises:
        RefusedError: an instruction that is not followed, or none that ends it.
    """
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(pickle):
            if code.name == 'STOP':
                (value,) = machine.stack
                return _Finisher()(value)
            step = _STEPS.get(code.name)
            if step is None:
                raise RefusedError(f'it has the instruction {code.name}')
            machine.count_step()
            step(machine, argument)
    except RefusedError:
        raise
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        raise RefusedError(f'a damaged pickle ({type(error).__name__}: {error})') from error
    raise RefusedError('a pickle without an end')


class _Finisher:
    """Puts arrays in place of what stands for them, and counts, for lists may hold themselves."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """Return plain values."""
        self.seen += 1
        if depth > MAX_DEPTH or self.seen > MAX_VALUES:
            raise RefusedError('it is nested too deeply, or holds too much')
        if isinstance(value, _Array):
            value = value.value
        if isinstance(value, _Name | _Type):
            raise RefusedError('it holds a name or a type by itself')
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {key: self(item, depth + 1) for key, item in value.items()}
        return value


def _name(machine: _Machine, module: Any, name: Any) -> None:
    if not isinstance(module, str) or not isinstance(name, str):
        raise RefusedError('it asks for what is no name')
    word = NAMES.get((module, name))
    if word is None:
        raise RefusedError(f'it asks for {module}.{name}')
    machine.stack.append(_Name(word))


def _global(machine: _Machine, argument: Any) -> None:
    _name(machine, *argument.split(' ', 1))


def _stack_global(machine: _Machine, argument: Any) -> None:
    _name(machine, *machine.pop(2))


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.pop(2)
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise RefusedError('it calls what is no name')
    found = _CALLS[function.word](*arguments)
    machine.count_made(found)
    machine.stack.append(found)


def _encode(text: Any, encoding: Any = 'latin1') -> bytes:
    if not isinstance(text, str) or encoding != 'latin1':
        raise RefusedError('bytes in another encoding than latin1')
    return text.encode('latin1')


def _type(code: Any, align: Any = False, copy: Any = True) -> _Type:
    if not isinstance(code, str) or not TYPES.fullmatch(code):
        named = code[:20] if isinstance(code, str) else type(code).__name__
        raise RefusedError(f'an array of type {named}')
    return _Type(code)


def _scalar(kind: Any, content: Any) -> Any:
    return _numbers((), kind, content).item()


def _array(kind: Any, shape: Any, code: Any) -> _Array:
    if kind != _Name(ARRAY):
        raise RefusedError('it makes what is no array')
    return _Array()


def _buffer(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    return _numbers(shape, kind, content, order == 'F')


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


_CALLS: dict[str, Callable[..., Any]] = {
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


def _build(machine: _Machine, argument: Any) -> None:
    target, state = machine.pop(2)
    if isinstance(target, _Type):
        target.order = ORDERS[ORDERS.index(state[1])]
    elif isinstance(target, _Array):
        _, shape, kind, fortran, content = state
        if isinstance(content, list):
            _check_shape(shape, len(content))
            if kind.code != 'O8':
                raise RefusedError('an array of numbers that holds a list')
            target.value = _nested(content, list(shape))
        else:
            target.value = _numbers(shape, kind, content, bool(fortran))
        machine.count_made(target.value)
    elif not isinstance(target, dict):  # EasyDict's state repeats its items
        raise RefusedError('it gives a state to what is no array')
    machine.stack.append(target)


def _numbers(shape: Any, kind: Any, content: Any, fortran: bool = False) -> np.ndarray:
    """An array from its bytes; a text stands for bytes in pickles of Python 2."""
    if not isinstance(kind, _Type) or kind.code == 'O8':
        raise RefusedError('numbers without a type')
    if isinstance(content, str):
        content = content.encode('latin1')
    dtype = np.dtype(kind.order + kind.code)
    _check_shape(shape, len(content) // dtype.itemsize)
    if not content:
        return np.empty(shape, dtype)
    flat = np.frombuffer(content, dtype)
    return flat.reshape(shape, order='F' if fortran else 'C').copy()


def _check_shape(shape: Any, count: int) -> None:
    """Refuse a shape of another number of values, and one that hides sizes behind a zero."""
    if not isinstance(shape, tuple) or len(shape) > MAX_DEPTH:
        raise RefusedError('an array whose shape is none')
    largest = max(count, MAX_VALUES)
    sized = all(isinstance(size, int) and 0 <= size <= largest for size in shape)
    if not sized or math.prod(shape) != count:
        raise RefusedError(f'an array of another shape than that of its {count:,} values')


def _nested(items: list[Any], shape: list[int]) -> Any:
    """A flat list as lists of lists."""
    if not shape:
        return items[0]
    if not items:
        return []
    step = len(items) // shape[0]
    return [_nested(items[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _push(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _mark(machine: _Machine, argument: Any) -> None:
    machine.marks.append(len(machine.stack))


def _tuple(machine: _Machine, count: int) -> None:
    machine.stack.append(tuple(machine.pop(count)))


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise RefusedError('it appends to what is no list')
    target.extend(items)


def _set(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict) or not all(map(_is_key, items[::2])):
        raise RefusedError('it sets items of what is no dict, or by keys that are no names')
    target.update(zip(items[::2], items[1::2], strict=True))


def _is_key(key: Any) -> bool:
    return isinstance(key, str) or (isinstance(key, int) and abs(key) < MAX_KEY)


def _remember(machine: _Machine, place: int) -> None:
    machine.memory[place] = machine.stack[-1]


def _nothing(machine: _Machine, argument: Any) -> None:
    pass


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    'PROTO': _nothing,
    'FRAME': _nothing,
    'MARK': _mark,
    'GLOBAL': _global,
    'STACK_GLOBAL': _stack_global,
    'REDUCE': _reduce,
    'NEWOBJ': _reduce,
    'BUILD': _build,
    'NONE': lambda m, _: _push(m, None),
    'NEWTRUE': lambda m, _: _push(m, True),
    'NEWFALSE': lambda m, _: _push(m, False),
    'EMPTY_LIST': lambda m, _: _push(m, []),
    'EMPTY_DICT': lambda m, _: _push(m, {}),
    'EMPTY_TUPLE': lambda m, _: _push(m, ()),
    'TUPLE': lambda m, _: _push(m, tuple(m.pop_mark())),
    'TUPLE1': lambda m, _: _tuple(m, 1),
    'TUPLE2': lambda m, _: _tuple(m, 2),
    'TUPLE3': lambda m, _: _tuple(m, 3),
    'APPEND': lambda m, _: _append(m, m.pop(1)),
    'APPENDS': lambda m, _: _append(m, m.pop_mark()),
    'SETITEM': lambda m, _: _set(m, m.pop(2)),
    'SETITEMS': lambda m, _: _set(m, m.pop_mark()),
    'BINPUT': _remember,
    'LONG_BINPUT': _remember,
    'MEMOIZE': lambda m, _: _remember(m, len(m.memory)),
    'BINGET': lambda m, place: _push(m, m.memory[place]),
    'LONG_BINGET': lambda m, place: _push(m, m.memory[place]),
}
_VALUES = (
    'BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES '
    'BYTEARRAY8 BINUNICODE8 BINBYTES8'
)
_STEPS |= dict.fromkeys([*_VALUES.split(), 'BINSTRING', 'SHORT_BINSTRING'], _push)
