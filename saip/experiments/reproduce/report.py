"""What a table, or a figure, has to show: plain cells that a page writes down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from saip.experiments.reproduce import notes
from saip.experiments.reproduce.found import Found, Records
from saip.experiments.reproduce.needs import Need, row_needs
from saip.experiments.reproduce.plan import Settings, Step, describe_options, row_steps
from saip.experiments.reproduce.tables import Cell, Row, Table
from saip.experiments.reproduce.weights import Weights


@dataclass(frozen=True)
class Entry:
    """One figure: the paper's and what has been found.

    Attributes:
        paper: as printed; '' where the paper has none.
        found: in words or as a figure; '' where nothing has been found.
        better: whether it is at least the paper's; None where that cannot be said.
        remarks: of the figure found.
    """

    paper: str
    found: str = ''
    better: bool | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: for ``--run``.
        words: first columns.
        entries: one for each further column.
        begins: what its trainings begin with.
        note: what the paper leaves open.
        needs: what has to be there.
        steps: commands.
        passed_over: records that are not its.
    """

    name: str
    words: tuple[str, ...]
    entries: tuple[Entry, ...]
    begins: str = ''
    note: str = ''
    needs: tuple[Need, ...] = ()
    steps: tuple[Step, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A table or figure of the paper.

    Attributes:
        name: on the command line.
        title: one line.
        heads: of the first columns.
        groups: titles of groups of columns, with their widths; empty without any.
        columns: titles of the further columns.
        lines: its rows.
        notes: for all rows.
        marks: what makes it another experiment than the paper's, by kind.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    marks: dict[str, str]


def report_table(table: Table, settings: Settings, records: Records) -> Report:
    """What a table shows now."""
    cells = table.rows[0].cells
    groups = tuple(
        (title, len(list(same))) for title, same in groupby(cells, lambda c: c.task.title)
    )
    columns = tuple(f'{c.column.title}{"" if c.column.higher else " ↓"}' for c in cells)
    lines = tuple(_line(row, settings, records) for row in table.rows)
    said = (*table.notes, *_hours(table))
    drawn = any('drawn' in r for line in lines for e in line.entries for r in e.remarks)
    return Report(
        table.name,
        table.title,
        table.heads,
        groups,
        columns,
        lines,
        (*said, notes.DRAWN) if drawn else said,
        describe_options(settings),
    )


def _hours(table: Table) -> Iterator[str]:
    """What the trainings of a row take, as far as the documents estimate it."""
    tasks = {cell.task.name: cell.task for cell in table.rows[0].cells}.values()
    known = ', '.join(f'{task.title} {task.hours}' for task in tasks if task.hours)
    yield f'Hours of one recent GPU for a fine-tuning, estimated in docs/downstream.md: {known}.'
    if any('LUP1M' in row.weights.data for row in table.rows):
        yield (
            'A pretraining of 300 epochs on the million images of LUP1M takes 120 to 145 hours of '
            "one H100, by the time of a step of SAIP's ViT-Tiny "
            '(benchmarks/results/2026-11-27_h100.md).'
        )


def _line(row: Row, settings: Settings, records: Records) -> Line:
    found = [(cell, records.of(row, cell, settings)) for cell in row.cells]
    passed = [
        f'{cell.task.title}, {reason}' for cell, one in found for reason in one.passed_over
    ]
    # Commands of a data set without its configuration are no commands, nor are those with options
    # of another task.
    known = [
        cell
        for cell in row.cells
        if cell.task.protocol or settings.task_config(cell).is_file()
        if settings.takes_options(cell, row.weights)
    ]
    shown = replace(row, cells=tuple(known))
    return Line(
        row.name,
        row.words,
        tuple(_entry(cell, one) for cell, one in found),
        describe_weights(row.weights),
        row.note,
        tuple(row_needs(row, settings)),
        tuple(row_steps(shown, settings)),
        tuple(dict.fromkeys(passed)),
    )


def _entry(cell: Cell, found: Found) -> Entry:
    if found.value is None:
        return Entry(cell.paper, found.progress)
    printed = f'{found.value:.1f}'
    ahead = float(printed) - float(cell.paper)
    better = ahead >= 0 if cell.column.higher else ahead <= 0
    dated = (*found.remarks, *([found.record.date[:10]] if found.record else []))
    return Entry(cell.paper, f'{printed} ({ahead:+.1f})', better, dated)


def describe_weights(weights: Weights) -> str:
    """What trainings begin with, in words."""
    if weights.published:
        return f'{weights.published.name}, labels: {weights.published.labels}'
    if not weights.pretraining:
        return 'random weights'
    options = f' with {" ".join(weights.options)}' if weights.options else ''
    return f'configs/pretrain/{weights.pretraining}{options}'
