"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from saip.experiments.reproduce.report import Entry, Line, Report

_STYLE = """
:root { --ink: #1c2733; --soft: #66727f; --rule: #dfe5eb; --found: #1f5fa8; --ahead: #1d7a4c;
        --behind: #b3382c; --warn: #fff4d6; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 2.5rem auto;
       max-width: 1180px; padding: 0 1.25rem; }
h1 { font-size: 1.45rem; margin: 0 0 .4rem; }
p, li { color: var(--soft); max-width: 75ch; }
.mark { background: var(--warn); color: var(--ink); padding: .45rem .8rem; border-radius: 6px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1.2rem 0;
        font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: right; padding: .3rem .7rem; font-size: .82rem; }
th.word, td.word { text-align: left; white-space: nowrap; }
thead tr:last-child th { border-bottom: 2px solid var(--ink); }
th.group { text-align: center; border-bottom: 1px solid var(--rule); }
td { padding: .38rem .7rem; text-align: right; border-bottom: 1px solid var(--rule);
     vertical-align: top; }
tbody tr:hover { background: #f6f8fa; }
.found { display: block; font-weight: 600; color: var(--found); }
.ahead { color: var(--ahead); } .behind { color: var(--behind); }
.small { display: block; font-size: .74rem; color: var(--soft); }
details { border-bottom: 1px solid var(--rule); padding: .5rem 0; }
summary { cursor: pointer; } summary span { color: var(--soft); }
pre { background: #f6f8fa; padding: .8rem; border-radius: 6px; overflow-x: auto;
      font-size: .78rem; }
"""


def write_html(report: Report) -> str:
    """A page: the table, notes, and for each row what it needs and its commands, folded away."""
    return '\n'.join(_page(report)) + '\n'


def _page(report: Report) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f'<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>'
    yield f'<h1>{escape(report.title)}</h1>'
    yield "<p>The paper's figures; below them, in bold, what has been found here.</p>"
    for kind, what in report.marks.items():
        yield f'<p class="mark">Not the paper\'s setting: {escape(kind)}: {escape(what)}</p>'
    yield '<div class="wide"><table><thead>'
    yield from _head(report)
    yield '</thead><tbody>'
    for line in report.lines:
        words = ''.join(f'<td class="word">{escape(word)}</td>' for word in line.words)
        cells = ''.join(f'<td>{_entry(entry)}</td>' for entry in line.entries)
        yield f'<tr>{words}{cells}</tr>'
    yield '</tbody></table></div>'
    yield f'<ul>{"".join(f"<li>{escape(note)}</li>" for note in report.notes)}</ul>'
    for line in report.lines:
        if line.begins:
            yield from _row(line, report.name)
    yield '</body></html>'


def _head(report: Report) -> Iterator[str]:
    words = ''.join(f'<th class="word">{escape(head)}</th>' for head in report.heads)
    if report.groups:
        titles = ''.join(
            f'<th class="group" colspan="{width}">{escape(title)}</th>'
            for title, width in report.groups
        )
        yield f'<tr><th colspan="{len(report.heads)}"></th>{titles}</tr>'
    columns = ''.join(f'<th>{escape(column)}</th>' for column in report.columns)
    yield f'<tr>{words}{columns}</tr>'


def _entry(entry: Entry) -> str:
    paper = escape(entry.paper or '–')  # noqa: RUF001
    if not entry.found:
        return paper
    small = ''.join(f'<span class="small">{escape(remark)}</span>' for remark in entry.remarks)
    if entry.better is None:
        return f'{paper}<span class="small">{escape(entry.found)}</span>{small}'
    kind = 'ahead' if entry.better else 'behind'
    return f'{paper}<span class="found {kind}">{escape(entry.found)}</span>{small}'


def _row(line: Line, table: str) -> Iterator[str]:
    missing = [need for need in line.needs if not need.there]
    state = f'{len(missing)} missing' if missing else 'everything it needs is there'
    yield f'<details><summary>{escape(" · ".join(line.words))} <span>{state}</span></summary>'
    yield f'<p>Begins with {escape(line.begins)}. {escape(line.note)}</p>'
    items = [f'missing: <b>{escape(n.what)}</b>: {escape(n.how)}' for n in missing]
    items += [f'not shown: {escape(reason)}' for reason in line.passed_over]
    if items:
        yield f'<ul>{"".join(f"<li>{item}</li>" for item in items)}</ul>'
    commands = [f'# python tools/reproduce.py {table} --run {line.name}']
    commands += [step.shell() for step in line.steps]
    yield f'<pre>{escape(chr(10).join(commands))}</pre></details>'
