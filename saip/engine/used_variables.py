"""Variables of a configuration that are set after they have been used.

A file like ``data_root = 'data'; train_dataloader = dict(dataset=dict(data_root=data_root))`` puts
the value into the part when it is read. Who sets ``data_root`` later, by an option or in a file
that inherits this one, changes a variable that is not read any more.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saip.engine.keys import ConfigKeyError, runner_keys
from saip.engine.variables import pasted_as_text

_ABSENT = object()
_MOST = 4
"""Keys that a message names; more would hide what it says."""


def check_used_by_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that set a variable which the configuration has used already.

    Args:
        cfg: the configuration before the options are merged.
        options: values by dotted keys.

    Raises:
        ConfigKeyError: with the keys that the variable has gone into.
    """
    for option, value in options.items():
        name = option.partition('.')[0]
        if name in runner_keys() or name not in cfg or not cfg.filename:
            continue
        used = _reached(cfg, option, value)
        missed = {
            key: to
            for key, to in used.items()
            if not any(f'{key}.'.startswith(f'{other}.') for other in options)
        }
        if missed:
            raise ConfigKeyError(f'--cfg-options {option}: {_explain(missed)}')


def check_used_by_bases(cfg: Config) -> None:
    """Refuse a file that sets a variable which one of its bases has used already.

    Raises:
        ConfigKeyError: with the keys that the variable has gone into.
    """
    if not cfg.filename or not Path(cfg.filename).is_file():
        return
    text = Path(cfg.filename).read_text(encoding='utf-8')
    for name in _set_again(text, cfg):
        value = Config({'value': cfg[name]}).to_dict()['value']
        if missed := _reached(cfg, name, value):
            raise ConfigKeyError(f'{cfg.filename}: {name}: {_explain(missed)}')


def _explain(reached: Mapping[str, Any]) -> str:
    shown = [f'{key}={value!s:.60}' for key, value in list(reached.items())[:_MOST]]
    more = len(reached) - len(shown)
    others = f' and {more} more' if more else ''
    return (
        'this variable of the configuration has been used when it is set here, so that nothing '
        f'would change; set {" ".join(shown)}{others}'
    )


def _set_again(text: str, cfg: Config) -> list[str]:
    """Variables that a file sets, does not read, and that a base of it sets as well."""
    tree = _parse(text)
    if tree is None:
        return []
    assigned = {
        target.id
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    if '_base_' not in assigned:
        return []
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    inherited = cfg.text.replace(text.strip(), '')
    return [
        name
        for name in sorted(assigned - read - runner_keys())
        if name in cfg and f'\n{name} =' in inherited
    ]


def _reached(cfg: Config, key: str, value: Any) -> dict[str, Any]:
    """Keys of the parts that a run reads which follow from a variable, with their new values."""
    try:
        with pasted_as_text(), _set_early(key, value):
            other = Config.fromfile(cfg.filename, import_custom_modules=False)
    except (AttributeError, IndexError, KeyError, NameError, OSError, TypeError, ValueError):
        return {}  # the value does not fit its place, which building says better
    found: dict[str, Any] = {}
    for name in cfg:
        if name in runner_keys():
            found.update(_differences(cfg[name], other.get(name), name))
    return found


@contextmanager
def _set_early(key: str, value: Any) -> Iterator[None]:
    """Let a variable have another value from where the files of a configuration assign to it."""
    name, *rest = key.split('.')
    places = ''.join(f'[{part if part.isdigit() else repr(part)}]' for part in rest)
    line = f'{name}{places} = {value!r}'
    original = Config._substitute_env_variables

    def substitute(filename: str, temp_config_name: str) -> Any:
        used = original(filename, temp_config_name)
        written = Path(temp_config_name)
        written.write_text(
            _assigned_in(written.read_text(encoding='utf-8'), name, line), encoding='utf-8'
        )
        return used

    Config._substitute_env_variables = staticmethod(substitute)
    try:
        yield
    finally:
        Config._substitute_env_variables = staticmethod(original)


def _assigned_in(text: str, name: str, line: str) -> str:
    """A text with a line after each statement at the top that assigns to a name."""
    tree = _parse(text)
    if tree is None:
        return text
    lines = text.splitlines()
    for statement in reversed(tree.body):
        match statement:
            case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
                lines.insert(statement.end_lineno or statement.lineno, line)
    return '\n'.join(lines) + '\n'


def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Paths at which two values differ, with the new ones; where something is gone, the whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and set(old) <= set(new):
        for key, value in new.items():
            yield from _differences(old.get(key, _ABSENT), value, f'{path}.{key}')
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f'{path}.{number}')
    elif old != new:
        yield path, new
