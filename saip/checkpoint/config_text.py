"""The configuration text that mmengine stores in a checkpoint, read without running it."""

from __future__ import annotations

import ast
import math
from typing import Any

from saip.checkpoint.io import CheckpointError


def parse_config_text(text: str) -> dict[str, Any]:
    """Read the configuration that mmengine stores in a checkpoint's meta, without running it.

    mmengine's own reader executes the text; a stored configuration is only assignments of plain
    values, ``dict(...)`` included, so nothing more is accepted here.

    Raises:
        CheckpointError: the text holds other values.
    """
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        line = error.lineno
        raise CheckpointError(f'stored configuration, line {line}: no Python') from error
    config = {}
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                config[name] = _plain_value(value)
            case _:
                raise _not_plain(statement)
    return config


def _plain_value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items):
            return [_plain_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_plain_value(item) for item in items)
        case ast.Set(elts=items):
            return {_plain_value(item) for item in items}
        case ast.Dict(keys=keys, values=values):
            found = {}
            for key, item in zip(keys, values, strict=True):
                if key is None:  # **
                    raise _not_plain(node)
                found[_plain_value(key)] = _plain_value(item)
            return found
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords) if all(
            item.arg for item in keywords
        ):
            return {str(item.arg): _plain_value(item.value) for item in keywords}
        case ast.Call(func=ast.Name(id='dict'), args=[ast.Dict() as mapping], keywords=[]):
            return _plain_value(mapping)  # keys that are no names, such as 'mlm.head'
        case ast.Call(func=ast.Name(id='set'), args=[], keywords=[]):
            return set()
        case ast.UnaryOp(op=ast.USub(), operand=operand) if isinstance(
            number := _plain_value(operand), int | float
        ):
            return -number
        case ast.Name(id='inf' | 'nan' as name):
            return math.inf if name == 'inf' else math.nan
    raise _not_plain(node)


def _not_plain(node: ast.stmt | ast.expr) -> CheckpointError:
    return CheckpointError(
        f'stored configuration, line {node.lineno}: {ast.unparse(node)[:60]!r} is not a plain '
        'value, and this text is never executed'
    )
