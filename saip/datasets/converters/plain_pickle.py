"""Pickles of plain values, and object arrays of numpy (``.npy``), read without executing them.

A pickle is a program, and Python's reader runs it. Here its instructions are read one by one:
those that build lists, dicts, numbers, texts and numpy arrays are followed by code of this project,
which calls nothing that the file names; every other one is refused. Instructions and the bytes that
they make are counted, and numpy is given only what was checked, so that no file takes the reader's
time, its memory or its process.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .plain_values import (
    CALLS,
    MAX_DEPTH,
    MAX_VALUES,
    NAMES,
    ORDERS,
    Array,
    Name,
    RefusedError,
    Type,
    check_shape,
    nested,
    numbers,
)

MAX_BYTES = 1 << 24
"""Largest ``.npy`` file that is read; HAP's have a few kilobytes."""

MAX_STEPS = 1_000_000
"""Instructions; a value takes two or three, and PETA has 19,000 names."""

MAX_MADE = 1 << 28
"""Bytes of all arrays and ranges that it makes; PETA's have 16 million."""

MAX_KEY = 1 << 31
"""Numbers as keys of dicts are smaller: hashes of larger ones may be made to collide."""


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
        if isinstance(value, Array):
            value = value.value
        if isinstance(value, Name | Type):
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
    machine.stack.append(Name(word))


def _global(machine: _Machine, argument: Any) -> None:
    _name(machine, *argument.split(' ', 1))


def _stack_global(machine: _Machine, argument: Any) -> None:
    _name(machine, *machine.pop(2))


def _reduce(machine: _Machine, argument: Any) -> None:
    function, arguments = machine.pop(2)
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise RefusedError('it calls what is no name')
    found = CALLS[function.word](*arguments)
    machine.count_made(found)
    machine.stack.append(found)


def _build(machine: _Machine, argument: Any) -> None:
    target, state = machine.pop(2)
    if isinstance(target, Type):
        target.order = ORDERS[ORDERS.index(state[1])]
    elif isinstance(target, Array):
        _, shape, kind, fortran, content = state
        if isinstance(content, list):
            check_shape(shape, len(content))
            if kind.code != 'O8':
                raise RefusedError('an array of numbers that holds a list')
            target.value = nested(content, list(shape))
        else:
            target.value = numbers(shape, kind, content, bool(fortran))
        machine.count_made(target.value)
    elif not isinstance(target, dict):  # EasyDict's state repeats its items
        raise RefusedError('it gives a state to what is no array')
    machine.stack.append(target)


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
