"""Which arguments a class or a function takes, read from its signature and its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Arguments:
    """What can be given by keyword.

    Attributes:
        names: that are known.
        any_other: whether others may be right as well, because they are handed on to something
            that cannot be looked into.
    """

    names: frozenset[str]
    any_other: bool


@cache
def arguments_of(function: Callable[..., Any]) -> Arguments:
    """Arguments of a function, or of a class and of the parents that it hands the rest on to."""
    names: set[str] = set()
    for initializer in _initializers(function):
        try:
            parameters = inspect.signature(initializer).parameters.values()
        except (TypeError, ValueError):  # not written in Python
            return Arguments(frozenset(names), any_other=True)
        names |= {p.name for p in parameters if p.kind in _NAMED}
        names |= _renamed(initializer)
        rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        if not rest:
            return Arguments(frozenset(names - {'self'}), any_other=False)
        read, hands_on = _uses(initializer, rest[0])
        names |= read
        if not hands_on:
            return Arguments(frozenset(names - {'self'}), any_other=True)
    return Arguments(frozenset(names - {'self'}), any_other=not inspect.isclass(function))


def _initializers(function: Any) -> list[Any]:
    """The function, or the initializers of a class from the child to the parents."""
    if not inspect.isclass(function):
        return [function]
    return [
        vars(cls)['__init__']
        for cls in function.__mro__
        if '__init__' in vars(cls) and cls not in (object, nn.Module)  # these take nothing
    ]


def _renamed(initializer: Any) -> set[str]:
    """Old names of arguments that mmengine's ``deprecated_api_warning`` still takes."""
    if inspect.unwrap(initializer) is initializer:
        return set()
    held = inspect.getclosurevars(initializer).nonlocals
    return set(held.get('name_dict') or {})


def _uses(initializer: Any, rest: str) -> tuple[set[str], bool]:
    """Look how an initializer uses its ``**rest``.

    Returns:
        Names that it reads of them, and whether all others go to the parent and nowhere else.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(initializer)))
    except (OSError, TypeError, SyntaxError):
        return set(), False
    read: set[str] = set()
    looked_at: set[ast.AST] = set()
    for node in ast.walk(tree):
        found = _read_by(node, rest)
        if found is not None:
            name, place = found
            read |= {name} if name else set()
            looked_at.add(place)
    others = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == rest and node not in looked_at
    ]
    return read, not others


def _read_by(node: ast.AST, rest: str) -> tuple[str, ast.AST] | None:
    """The key that an expression reads of ``rest``, '' for all; and the place of the name."""
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=name) as place, attr=method),
            args=[ast.Constant(value=str(key)), *_],
        ) if name == rest and method in ('pop', 'get', 'setdefault'):
            return key, place
        case ast.Subscript(
            value=ast.Name(id=name) as place, slice=ast.Constant(value=str(key))
        ) if name == rest:
            return key, place
        case ast.Compare(
            left=ast.Constant(value=str(key)), comparators=[ast.Name(id=name) as place]
        ) if name == rest:
            return key, place
        case ast.Call(func=ast.Attribute(attr='__init__'), keywords=keywords):
            for keyword in keywords:
                match keyword:
                    case ast.keyword(arg=None, value=ast.Name(id=name) as place) if (
                        name == rest
                    ):
                        return '', place
    return None


@cache
def keys_read(cls: type[Any], attribute: str) -> frozenset[str]:
    """Keys that the methods of a class read of a dict, such as ``paramwise_cfg``.

    Args:
        cls: the class, whose parents are looked at as well.
        attribute: name of the dict, as a variable or as an attribute of ``self``.
    """
    found: set[str] = set()
    for each in cls.__mro__[:-1]:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        except (OSError, TypeError, SyntaxError):
            continue
        for node in ast.walk(tree):
            found |= _literal_keys(node, attribute)
    return frozenset(found)


def _literal_keys(node: ast.AST, name: str) -> set[str]:
    match node:
        case ast.Call(
            func=ast.Attribute(value=owner, attr='get' | 'pop'),
            args=[ast.Constant(value=str(key)), *_],
        ) if _is_named(owner, name):
            return {key}
        case ast.Subscript(value=owner, slice=ast.Constant(value=str(key))) if _is_named(
            owner, name
        ):
            return {key}
        case ast.Compare(left=ast.Constant(value=str(key)), comparators=[owner]) if _is_named(
            owner, name
        ):
            return {key}
    return set()


def _is_named(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Name(id=found) | ast.Attribute(value=ast.Name(id='self'), attr=found):
            return found == name
    return False
