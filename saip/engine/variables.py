"""Paste environment variables into a configuration's text without executing them."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

from saip.configs import VARIABLES, explain_empty
from saip.errors import InputError

PLACEHOLDER = re.compile(r'\{\{[\'"]?\s*\$(\w+)\s*:\s*(\S*?)\s*[\'"]?\}\}')
"""What mmengine replaces: ``{{$NAME:default}}``."""

_PLAIN = re.compile(r'[\w./~+:@%=, -]*')
_ESCAPES = str.maketrans({'\\': r'\\', "'": r'\'', '"': r'\"', '\n': r'\n', '\r': r'\r'})


@contextmanager
def pasted_as_text() -> Iterator[None]:
    """Let ``{{$NAME:default}}`` of configurations give the variable's value as it is.

    mmengine pastes values into Python as they are and takes them for templates of a regular
    expression, so that a quote ends the string around them, the rest is executed, and
    backslashes vanish. In this block they are escaped as the inside of a string.
    """
    original = Config._substitute_env_variables
    Config._substitute_env_variables = staticmethod(_paste)
    try:
        yield
    finally:
        Config._substitute_env_variables = staticmethod(original)


def _paste(filename: str, temp_config_name: str) -> dict[str, str]:
    """Stand in for mmengine's function: write the text with its variables, return these.

    Raises:
        InputError: a variable is empty, or missing where there is no default, or its value
            would be executed.
    """
    text = Path(filename).read_text(encoding='utf-8')
    used: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name in os.environ:
            used[name] = os.environ[name]
            if not used[name].strip():
                raise InputError(explain_empty(name))
            return used[name].translate(_ESCAPES)
        if not default:
            raise InputError(f'{name} is not set: it holds {VARIABLES.get(name, "a value")}')
        return default

    pasted = PLACEHOLDER.sub(value, text)
    unusual = [f'{name}={given}' for name, given in used.items() if not _PLAIN.fullmatch(given)]
    if unusual and filename.endswith('.py'):
        harmless = PLACEHOLDER.sub(lambda match: match.group(2) or 'x', text)
        if _structure(pasted) != _structure(harmless):
            raise InputError(
                f'{", ".join(unusual)}: this value would be executed as Python; read it with '
                "saip.configs.variable('NAME', 'default')"
            )
    Path(temp_config_name).write_text(pasted, encoding='utf-8')
    return used


def _structure(text: str) -> str | None:
    """What a Python text does, whatever its strings say; None for no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ''
    return ast.dump(tree)
