"""Checks of single options, with messages that name them."""

from __future__ import annotations

from typing import Any

from saip.errors import InputError
from saip.views.sizes import Size, size_text


def is_number(value: Any) -> bool:
    """Whether a value is a number and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_tuple(value: Any) -> Any:
    """Lists as tuples; a command line writes both."""
    return tuple(value) if isinstance(value, list) else value


def check_count(where: str, value: Any) -> int:
    """Return a whole number from 1 on.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f'view recipe, {where}: a whole number from 1 on, not {value!r}')
    return value


def check_share(where: str, value: Any) -> float:
    """Return a number from 0 to 1.

    Raises:
        InputError: it is none.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise InputError(f'view recipe, {where}: a number from 0 to 1, not {value!r}')
    return value


def check_inner_share(where: str, value: Any) -> float:
    """Return a number between 0 and 1, both excluded.

    Raises:
        InputError: it is none.
    """
    if not is_number(value) or not 0 < value < 1:
        raise InputError(f'view recipe, {where}: a number between 0 and 1, not {value!r}')
    return value


def check_range(where: str, value: Any, most: float = float('inf')) -> tuple[float, float]:
    """Return (smallest, largest), both above 0 and at most ``most``.

    Raises:
        InputError: it is no such pair.
    """
    value = as_tuple(value)
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(is_number, value))
    if not pair or not 0 < value[0] <= value[1] <= most:
        limit = '' if most == float('inf') else f' and at most {most:g}'
        raise InputError(
            f'view recipe, {where}: (smallest, largest), both above 0{limit}, not {value!r}'
        )
    return value


def check_size(where: str, value: Any, patch: int) -> Size:
    """Return (height, width), both multiples of ``patch``.

    Raises:
        InputError: it is no such size.
    """
    value = as_tuple(value)
    pair = isinstance(value, tuple) and len(value) == 2
    if not pair or not all(type(side) is int and side >= 1 for side in value):
        raise InputError(f'view recipe, {where}: (height, width) in pixels, not {value!r}')
    if value[0] % patch or value[1] % patch:
        raise InputError(
            f'view recipe, {where}: {size_text(value)} is not a multiple of patch size {patch}'
        )
    return value


def check_scales(where: str, value: Any) -> tuple[float, ...]:
    """Return factors of a size, at least one, all above 0.

    Raises:
        InputError: they are none.
    """
    value = as_tuple(value)
    numbers = isinstance(value, tuple) and value and all(map(is_number, value))
    if not numbers or min(value) <= 0:
        raise InputError(f'view recipe, {where}: numbers above 0, not {value!r}')
    return tuple(float(scale) for scale in value)


def check_choice(where: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """Return one of some values.

    Raises:
        InputError: it is another one.
    """
    if value not in allowed:
        listed = ', '.join(map(str, allowed))
        raise InputError(f'view recipe, {where}: unknown {value!r}; allowed: {listed}')
    return value
