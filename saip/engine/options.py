"""Values of ``--cfg-options``, as they were typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from saip.errors import InputError

_CLOSING = {'(': ')', '[': ']'}
_WORDS = {'true': True, 'false': False}


class OptionAction(argparse.Action):
    """Read ``KEY=VALUE`` texts into a dict, in place of mmengine's ``DictAction``.

    That one removes every space of a value and cuts it at its commas, so that a path names
    another folder. See :func:`parse_value` for what this one reads.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the options to those of earlier flags of the same name."""
        texts = [values] if isinstance(values, str) else list(values or [])
        try:
            read = parse_options(texts)
        except InputError as error:
            parser.error(str(error))
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **read})


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` texts.

    Raises:
        InputError: a text has no ``=``.
    """
    options = {}
    for text in texts:
        key, equals, value = text.partition('=')
        if not equals:
            raise InputError(f'--cfg-options {text}: KEY=VALUE is needed')
        options[key] = parse_value(value)
    return options


def parse_value(text: str) -> Any:
    """Read one value.

    Numbers, ``True``, ``False`` and ``None`` are what they say; ``[a,b]`` is a list and
    ``(a,b)`` a tuple of values, which may be nested; ``1,2`` is a list where all its values are
    numbers. A value in quotes is the text between them. Everything else is a text as it was
    typed, with its spaces and commas.
    """
    inner = text.strip()
    if len(inner) > 1 and inner[0] in '\'"' and inner[0] == inner[-1]:
        return inner[1:-1]
    if inner[:1] in _CLOSING and _encloses(inner):
        values = [parse_value(part.strip()) for part in _split(inner[1:-1])]
        return tuple(values) if inner[0] == '(' else values
    if ',' in inner:
        numbers = [_word(part.strip()) for part in inner.split(',') if part.strip()]
        if numbers and not any(isinstance(number, str) for number in numbers):
            return numbers
    word = _word(inner)
    return text if isinstance(word, str) else word


def _word(text: str) -> Any:
    """A number, a truth value or None; any other text as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if text == 'None':
        return None
    return _WORDS.get(text.lower(), text)


def _encloses(text: str) -> bool:
    """Whether the bracket that opens a text is closed by its last character, and all others."""
    open_brackets: list[str] = []
    quote = ''
    for place, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
        elif char in '\'"' and (place == 0 or text[place - 1] in '([, '):
            quote = char
        elif char in _CLOSING:
            open_brackets.append(_CLOSING[char])
        elif char in ')]':
            if not open_brackets or open_brackets.pop() != char:
                return False
            if not open_brackets and place < len(text) - 1:
                return False
    return not open_brackets and not quote


def _split(text: str) -> list[str]:
    """Cut at the commas that stand in no bracket and no quotes; a last comma ends nothing."""
    parts, depth, quote = [''], 0, ''
    for char in text:
        if quote:
            quote = '' if char == quote else quote
        elif char in '\'"' and not parts[-1].strip():
            quote = char
        elif char in '([':
            depth += 1
        elif char in ')]':
            depth -= 1
        if char == ',' and not depth and not quote:
            parts.append('')
        else:
            parts[-1] += char
    return parts if parts[-1].strip() else parts[:-1]
