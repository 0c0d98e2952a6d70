"""What a comparison compares: methods, ablations of them, and weights to begin with."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saip.engine.options import parse_value
from saip.errors import InputError, MissingFileError

_SHORT = (('model.objectives.', ''), ('model.', ''))
"""Beginnings of keys that a row's name leaves out."""


@dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        text: as it was given, ``[WEIGHTS+]METHOD[:KEY=VALUE,...]`` or ``WEIGHTS``.
        method: name of a preset; None for weights as they are.
        weights: name of the weights to begin with; None begins at random.
        options: ``KEY=VALUE``, as after ``--cfg-options``.
    """

    text: str
    method: str | None
    weights: str | None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a table calls it."""
        shown = []
        for option in self.options:
            for long, short in _SHORT:
                if option.startswith(long):
                    option = short + option.removeprefix(long)
                    break
            shown.append(option)
        head = '+'.join(part for part in (self.weights, self.method) if part)
        return f'{head}: {", ".join(shown)}' if shown else head

    @property
    def folder(self) -> str:
        """Name of a folder, another one for every row."""
        plain = re.sub(r'[^\w.+=-]+', '_', self.text)
        if plain == self.text:
            return plain
        # Two texts may differ in what a folder's name cannot hold.
        return f'{plain[:80]}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}'


def parse_rows(texts: Sequence[str], methods: Path, weights: Mapping[str, Path]) -> list[Row]:
    """Read the rows of a command line.

    Args:
        texts: see :class:`Row`.
        methods: folder of the presets, a file each.
        weights: files of weights to begin with, by name.

    Raises:
        InputError: a row is malformed or given twice, or names what does not exist.
    """
    if not texts:
        raise InputError('no method to compare')
    known = sorted(path.stem for path in methods.glob('*.py'))
    rows = [_parse_row(text, known, weights) for text in texts]
    twice = next((row for i, row in enumerate(rows) if row in rows[:i]), None)
    if twice is not None:
        raise InputError(f'{twice.text}: this row is given twice')
    return rows


def parse_weights(texts: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE`` texts.

    Raises:
        InputError: a text is malformed, a name is given twice, or a file does not exist.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition('=')
        if not equals or not re.fullmatch(r'[\w.-]+', name) or name in found:
            raise InputError(
                f'--init {text}: NAME=FILE is needed, each name once, of letters, digits, . _ -'
            )
        found[name] = Path(file).expanduser()
        if not found[name].is_file():
            raise MissingFileError(f'--init {text}: there is no file {found[name]}')
    return found


def _parse_row(text: str, methods: Sequence[str], weights: Mapping[str, Path]) -> Row:
    head, colon, tail = text.partition(':')
    start, plus, method = head.rpartition('+')
    options = _parse_options(text, tail) if colon else ()
    if plus and start not in weights:
        given = ', '.join(weights) or 'none is given'
        raise InputError(
            f'{text}: no weights {start!r}; --init {start}=FILE names them ({given})'
        )
    if not plus and head in weights and head not in methods:
        if colon:
            raise InputError(f'{text}: weights as they are take no options')
        return Row(text, None, head)
    if method not in methods:
        near = difflib.get_close_matches(method, [*methods, *weights], 1)
        hint = f'did you mean {near[0]!r}? ' if near else ''
        raise InputError(
            f'{text}: there is no method {method!r}; {hint}choose among {", ".join(methods)}, or '
            f'name weights as they are by --init {method}=FILE'
        )
    return Row(text, method, start or None, options)


def _parse_options(text: str, tail: str) -> tuple[str, ...]:
    """Cut ``KEY=VALUE,KEY=VALUE`` at the commas that stand in no bracket and no quotes."""
    parts = parse_value(f'[{tail}]')
    if not parts or not all(isinstance(part, str) and '=' in part for part in parts):
        raise InputError(f'{text}: METHOD:KEY=VALUE,KEY=VALUE is needed')
    return tuple(parts)
