"""Walk through a configuration and find keys that nothing will read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from saip.engine.keys.errors import ConfigKeyError, unknown_key
from saip.engine.keys.plain import (
    DEFAULT_TYPES,
    NAMES_OF_ITS_OWN,
    NEVER_BUILT,
    known_keys,
    part_of,
)
from saip.engine.keys.registered import TAKEN_BY_BUILDERS, Keys, classes_of, likely_registries
from saip.engine.keys.signatures import Arguments, arguments_of
from saip.engine.keys.spelling import is_slip

RESERVED = ('_base_', '_delete_', '_scope_')
"""What mmengine reads in any dict of a configuration."""

_LIKE_TYPE = ('dtype', 'types', 'ctype')
"""Names that are no slip for ``type``."""


def check_keys(cfg: Mapping[str, Any], read: Iterable[str], where: str) -> None:
    """Refuse a configuration with a key that is misspelled.

    A dict with a ``type`` may have the arguments of the class that the registries hold under this
    name. Where the keys of a dict cannot be known, one that is a slip of another in the same dict
    is refused: that is what a misspelled key looks like in a configuration that inherits another.

    Args:
        cfg: the merged configuration.
        read: keys at the top that are read; the others are variables of the configuration.
        where: what the message begins with, such as the file's name.

    Raises:
        ConfigKeyError: a key that nothing reads, with the one that was probably meant.
    """
    for key in read:
        for message in _problems(cfg, (key,), cfg.get(key), cfg.get('default_scope'), where):
            raise ConfigKeyError(message)


def allowed_keys(cfg: Mapping[str, Any], path: Keys) -> Arguments | None:
    """Keys that the dict at a path of a configuration may have; None where they are not known."""
    node = part_of(cfg, path)
    return _best(_allowed(cfg, path, node, cfg.get('default_scope')), node)


def _problems(
    cfg: Mapping[str, Any], path: Keys, node: Any, scope: str | None, where: str
) -> Iterator[str]:
    if isinstance(node, list | tuple):
        for number, entry in enumerate(node):
            yield from _problems(cfg, (*path, str(number)), entry, scope, where)
    elif isinstance(node, Mapping):
        scope = node.get('_scope_', scope)
        yield from _of_dict(cfg, path, node, scope, where)
        for key, value in node.items():
            yield from _problems(cfg, (*path, str(key)), value, scope, where)


def _of_dict(
    cfg: Mapping[str, Any], path: Keys, node: Mapping[Any, Any], scope: str | None, where: str
) -> Iterator[str]:
    named = '.'.join(path)
    if named in NAMES_OF_ITS_OWN:
        yield from _entries(named, node, where)
        return
    allowed = _best(_allowed(cfg, path, node, scope), node)
    names = set() if allowed is None else {*allowed.names, 'type'}
    closed = allowed is not None and not allowed.any_other
    before: list[str] = []
    for key in node:
        if not isinstance(key, str):
            continue
        meant = {*names, *before, *(RESERVED if key.startswith('_') else ())}
        if key not in names and key not in RESERVED:
            slips = [each for each in meant if is_slip(key, each)]
            if closed or slips or _is_slip_of_type(key, node):
                yield unknown_key(key, named, slips or {*names, 'type'}, where)
        before.append(key)


def _is_slip_of_type(key: str, node: Mapping[str, Any]) -> bool:
    return (
        'type' not in node
        and key not in _LIKE_TYPE
        and is_slip(key, 'type')
        and isinstance(node[key], str)
    )


def _entries(path: str, node: Mapping[Any, Any], where: str) -> Iterator[str]:
    """Entries whose names are their own: one that stands beside the one that it should change."""
    for number, (key, entry) in enumerate(node.items()):
        if not isinstance(entry, Mapping) or not isinstance(key, str):
            continue
        others = dict(list(node.items())[:number])
        if 'type' not in entry:
            yield f'{unknown_key(key, path, others, where)} (a new one needs a type)'
        for name, other in others.items():
            same = isinstance(other, Mapping) and other.get('type') == entry.get('type')
            if is_slip(key, name) and (same or path == 'default_hooks'):
                yield unknown_key(key, path, [name], where)


def _allowed(
    cfg: Mapping[str, Any], path: Keys, node: Mapping[str, Any], scope: str | None
) -> list[Arguments]:
    """What the dict at a path takes, for each class that it may stand for."""
    kind = node.get('type')
    if kind is None or path[-1] in NEVER_BUILT:
        known = known_keys(cfg, path, scope)
        if known is not None:
            return [known]
        kind = DEFAULT_TYPES.get('.'.join(path))
    if kind is None:
        return []
    built_by_mmengine = likely_registries(path)[1]
    found = []
    for cls, registry in classes_of(kind, path, scope):
        taken = arguments_of(cls)
        builders = TAKEN_BY_BUILDERS.get(registry, frozenset()) if registry else frozenset()
        # Classes of the libraries take keys out of their parts before they build these.
        whole = built_by_mmengine or str(cls.__module__).startswith('saip.')
        found.append(Arguments(taken.names | builders, taken.any_other or not whole))
    return found


def _best(found: list[Arguments], node: Mapping[str, Any]) -> Arguments | None:
    """Of several classes the one that takes most of the keys that are there."""
    if not found:
        return None
    return min(found, key=lambda each: (len(set(node) - each.names), not each.any_other))
