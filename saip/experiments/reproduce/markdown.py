"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from saip.experiments.reproduce.needs import Need
from saip.experiments.reproduce.report import Entry, Line, Report


def write_markdown(report: Report, commands: bool = False) -> str:
    """A page: the table, then what there is to say of it and of its rows.

    Args:
        report: to write.
        commands: whether each row's commands follow.
    """
    return '\n'.join(_page(report, commands)).rstrip() + '\n'


def _page(report: Report, commands: bool) -> Iterator[str]:
    yield f'# {report.title}'
    yield ''
    for kind, what in report.marks.items():
        yield f"**Not the paper's setting: {kind}: {_text(what)}.**"
        yield ''
    yield "Each cell: the paper's figure, then what has been found here (and the difference)."
    yield ''
    titles = [title for title, width in report.groups for _ in range(width)]
    named = [
        f'{title} {column}'.strip()
        for title, column in zip(titles or report.columns, report.columns, strict=True)
    ]
    heads = [*report.heads, *(named if titles else report.columns)]
    yield _cells(heads)
    yield _cells(['---'] * len(heads))
    for line in report.lines:
        yield _cells([*line.words, *(_entry(entry) for entry in line.entries)])
    yield ''
    for note in report.notes:
        yield f'- {_text(note)}'
    yield ''
    lines = [line for line in report.lines if line.begins]
    if lines:
        yield '## Rows'
        yield ''
    noted: dict[str, str] = {}
    for line in lines:
        yield from _row(line, noted)
    yield ''
    yield from _missing(report)
    if commands:
        for line in lines:
            yield from _commands(line, report.name)


def _row(line: Line, noted: dict[str, str]) -> Iterator[str]:
    """What a row begins with, and its remark; one that another row has is not said twice."""
    yield f'- `{line.name}`: {_text(line.begins)}'
    if line.note in noted:
        yield f'    - as for `{noted[line.note]}`'
    elif line.note:
        yield f'    - {_text(line.note)}'
        noted[line.note] = line.name
    for reason in line.passed_over:
        yield f'    - not shown: {_text(reason)}'


def _missing(report: Report) -> Iterator[str]:
    """What is not there, once, with the rows that wait for it."""
    waiting: dict[Need, list[str]] = {}
    for line in report.lines:
        for need in line.needs:
            if not need.there:
                waiting.setdefault(need, []).append(line.name)
    if not waiting:
        return
    yield '## Missing'
    yield ''
    for need, names in waiting.items():
        every = len(names) == len(report.lines)
        rows = 'all rows' if every else ', '.join(f'`{name}`' for name in names)
        yield f'- `{need.what}` ({rows}): {_text(need.how)}'
    yield ''


def _commands(line: Line, table: str) -> Iterator[str]:
    yield f'## Commands of `{line.name}`'
    yield ''
    yield '```bash'
    yield f'# python tools/reproduce.py {table} --run {line.name}'
    yield from (step.shell() for step in line.steps)
    yield '```'
    yield ''


def _entry(entry: Entry) -> str:
    remarks = f' [{", ".join(entry.remarks)}]' if entry.remarks else ''
    found = f'**{entry.found}**' if entry.better is not None else entry.found
    return _text(f'{entry.paper or "-"} / {found or "-"}{remarks}')


def _text(text: str) -> str:
    return text.replace('|', '\\|')


def _cells(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'
