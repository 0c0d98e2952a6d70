"""The error of a misspelled key and its words."""

from __future__ import annotations

from collections.abc import Iterable

from saip.engine.keys.spelling import suggestion
from saip.errors import InputError


class ConfigKeyError(InputError):
    """A key of a configuration that nothing will ever read."""


def unknown_key(key: str, path: str, allowed: Iterable[str], where: str | None) -> str:
    """Say that a key does not exist, and what was probably meant.

    Args:
        key: that is unknown.
        path: dotted path of the dict that it stands in; empty for the top level.
        allowed: keys that may stand there.
        where: file or option that names it.
    """
    names = sorted(set(allowed))
    place = f'in {path}' if path else 'at the top level'
    meant = suggestion(key, names)
    hint = f'did you mean {meant!r}?' if meant else f'allowed: {", ".join(names)}'
    return f'{where or "configuration"}: no key {key!r} {place}; {hint}'
