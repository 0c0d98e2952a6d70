"""Counts of a converted set beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Count(NamedTuple):
    """Counts of one source.

    Attributes:
        name: of the source.
        found: samples that the source's rule gives.
        written: of these, the samples that passed the verification.
        expected: the paper's count; None if it states none.
    """

    name: str
    found: int
    written: int
    expected: int | None


def count_table(counts: Sequence[Count], total: bool = False) -> str:
    """Lay counts out as a table, one source per line and, if asked for, their sum."""
    rows = list(counts)
    if total:
        known = [row.expected for row in rows if row.expected is not None]
        rows.append(
            Count('Total', sum(r.found for r in rows), sum(r.written for r in rows), sum(known))
        )
    lines = [f'{"source":<14}{"found":>12}{"written":>12}{"paper":>12}{"found-paper":>14}']
    for row in rows:
        expected = '-' if row.expected is None else f'{row.expected:,}'
        difference = '-' if row.expected is None else f'{row.found - row.expected:+,}'
        lines.append(
            f'{row.name:<14}{row.found:>12,}{row.written:>12,}{expected:>12}{difference:>14}'
        )
    return '\n'.join(lines)


def count_warnings(counts: Sequence[Count]) -> list[str]:
    """Say in words where a set differs from the paper's or lost samples."""
    warnings = []
    for row in counts:
        if row.expected is not None and row.found != row.expected:
            more = 'more' if row.found > row.expected else 'fewer'
            warnings.append(
                f'WARNING: {row.name}: {row.found:,} samples found, '
                f'{abs(row.found - row.expected):,} {more} than the {row.expected:,} of the '
                'paper'
            )
        if row.written != row.found:
            warnings.append(
                f'WARNING: {row.name}: {row.found - row.written:,} of {row.found:,} samples '
                'are left out; the .rejected.tsv beside the manifest says why'
            )
    return warnings
