"""Tables of names: a row ``old: new`` stands for a key and the ``.weight`` and ``.bias`` below it.

``*`` stands for a block number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

VIT_BLOCK = {
    'norm1': 'ln1',
    'attn.qkv': 'attn.qkv',
    'attn.proj': 'attn.proj',
    'norm2': 'ln2',
    'mlp.fc1': 'ffn.layers.0.0',
    'mlp.fc2': 'ffn.layers.1',
}
"""A block of a ViT: timm's names, which the method's first release has too, and mmpretrain's."""

Rules = list[tuple[re.Pattern[str], str]]


def renaming_rules(table: Mapping[str, str]) -> Rules:
    """Compile a table for :func:`rename`."""
    return [(_pattern(old), new.replace('*', r'\g<n>')) for old, new in table.items()]


def rename(key: str, rules: Rules) -> str | None:
    """Return the new name of a key; None if no row of the table covers it."""
    for pattern, new in rules:
        match = pattern.fullmatch(key)
        if match:
            return match.expand(new) + match['leaf']
    return None


def numbers(row: str, keys: Mapping[str, Any]) -> set[int]:
    """Block numbers with which a row of a table occurs."""
    pattern = _pattern(row)
    return {int(match['n']) for key in keys if (match := pattern.fullmatch(key))}


def missing_rows(table: Mapping[str, str], part: Mapping[str, Any]) -> Iterator[str]:
    """Rows without a key; of a stack of blocks, the blocks that a row lacks."""
    stacks = {row.split('*')[0] for row in table if '*' in row}
    blocks = {
        stack: set().union(*(numbers(row, part) for row in table if row.startswith(stack)))
        for stack in stacks
    }
    for row in table:
        if '*' not in row:
            if not any(_pattern(row).fullmatch(key) for key in part):
                yield row
            continue
        wanted = range(max(blocks[row.split('*')[0]], default=0) + 1)
        lacking = sorted(set(wanted) - numbers(row, part))
        yield from (row.replace('*', str(i)) for i in lacking)


def _pattern(row: str) -> re.Pattern[str]:
    number = re.escape(row).replace(r'\*', r'(?P<n>\d+)')
    return re.compile(rf'{number}(?P<leaf>\.weight|\.bias|)')
