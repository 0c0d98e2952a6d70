"""How far a long piece of work is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeVar

Item = TypeVar('Item')
Report = Callable[[str, int, int], None]
"""Is called with the label, the number of finished items and their total."""

SECONDS_BETWEEN_LINES = {True: 0.5, False: 15.0}
"""Between two lines, on a terminal (where each takes the place of the last) and in a file."""

_report: ContextVar[Report | None] = ContextVar('report', default=None)


@contextmanager
def reported(report: Report) -> Iterator[None]:
    """Call ``report`` for every item that :func:`track` passes on, in place of its lines."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def track(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    """Pass items on, and write their number, rate and the time left to stderr."""
    report = _report.get()
    if report is None:
        yield from _written(items, total, label)
        return
    for done, item in enumerate(items, start=1):
        yield item
        report(label, done, total)


def _written(items: Iterable[Item], total: int, label: str) -> Iterator[Item]:
    terminal = sys.stderr.isatty()
    started = written = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done < total and now - written < SECONDS_BETWEEN_LINES[terminal]:
            continue
        written = now
        rate = done / max(now - started, 1e-6)
        left = timedelta(seconds=round((total - done) / rate))
        speed = f'{rate:,.0f}' if rate >= 10 else f'{rate:.2g}'
        line = f'{label}: {done:,}/{total:,} ({100 * done // total} %), {speed}/s, {left} left'
        ending = '\r' if terminal and done < total else '\n'
        sys.stderr.write(f'{line}{" " * 8 if terminal else ""}{ending}')
        sys.stderr.flush()
