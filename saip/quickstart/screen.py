"""What a person sees of a long command: its steps, one line of progress, and warnings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

SECONDS_BETWEEN_LINES = 30.0
"""Between two lines of progress without a terminal."""
WIDTH = 44
"""Of a step's title, so that the times stand below each other."""


class Screen:
    """Show the steps of a command, each with its time.

    On a terminal the step at work has one live line; elsewhere a line is written every half
    minute.

    Args:
        console: where to write.
        steps: number of steps.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self._steps = steps
        self._number = 0
        self._title = ''
        self._line: Line | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show one step while its block runs, and its time afterwards."""
        self._number += 1
        self._title = f'[{self._number}/{self._steps}] {title}'
        started = time.monotonic()
        live = self.console.is_terminal
        self._line = (LiveLine if live else PlainLine)(self.console, self._title)
        try:
            with self._line:
                yield
        finally:
            self._line = None
        self.say(f'{self._title:<{WIDTH}} {duration(time.monotonic() - started):>9}')

    def progress(self, done: int, total: int, details: str = '') -> None:
        """Show how far the step at work is; ``details`` stands beside it."""
        if self._line is not None:
            self._line.show(done, total, details)

    def say(self, text: str, style: str = '') -> None:
        """Write one line above the line of progress."""
        self.console.print(escape(text), style=style, highlight=False, soft_wrap=True)


class Line:
    """The line of progress of one step.

    Args:
        console: where to write.
        title: of the step.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, done: int, total: int, details: str) -> None:
        """Show how far the step is."""
        raise NotImplementedError

    def time_left(self, done: int, total: int) -> str:
        """Time that the rest takes at the speed so far; empty before there is one."""
        now = time.monotonic()
        if self._first is None:  # a resumed run does not begin at 0
            self._first = now, done
        started, before = self._first
        if done <= before or now - started < 1:
            return ''
        return f'{duration((now - started) / (done - before) * (total - done))} left'


class LiveLine(Line):
    """A line that is drawn anew twice a second."""

    def __init__(self, console: Console, title: str) -> None:
        super().__init__(console, title)
        columns = (
            SpinnerColumn(),
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=20),
            TextColumn('{task.fields[details]}', markup=False),
        )
        self._live = Progress(*columns, console=console, transient=True, refresh_per_second=2)
        self._task: TaskID = self._live.add_task(title, total=None, details='')

    def __enter__(self) -> Line:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, done: int, total: int, details: str) -> None:
        """Show how far the step is."""
        shown = [f'{100 * done // total} %', details, self.time_left(done, total)]
        text = ', '.join(part for part in shown if part)
        self._live.update(self._task, completed=done, total=total, details=text)


class PlainLine(Line):
    """A line every half minute."""

    def __init__(self, console: Console, title: str) -> None:
        super().__init__(console, title)
        self._written = time.monotonic()

    def show(self, done: int, total: int, details: str) -> None:
        """Show how far the step is, if it is time."""
        left = self.time_left(done, total)
        now = time.monotonic()
        if now - self._written < SECONDS_BETWEEN_LINES:
            return
        self._written = now
        shown = [f'{100 * done // total} %', details, left]
        text = f'{self.title}: {", ".join(part for part in shown if part)}'
        self.console.print(escape(text), highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Return a time as ``3 s``, ``2:05 min`` or ``1:02:03 h``."""
    whole = round(seconds)
    if whole < 60:
        return f'{whole} s'
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f'{minutes}:{rest:02} min'
    return f'{minutes // 60}:{minutes % 60:02}:{rest:02} h'


@contextmanager
def output_to_file(path: Path) -> Iterator[TextIO]:
    """Send what this process, its workers and their libraries print to the end of a file.

    Yields:
        The former standard output, for what a person is meant to see.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(1), os.dup(2)]
    shown = os.fdopen(
        os.dup(1), 'w', encoding=sys.stdout.encoding or 'utf-8', errors='backslashreplace'
    )
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield shown
    finally:
        _flush()
        for number, former in zip((1, 2), kept, strict=True):
            os.dup2(former, number)
            os.close(former)
        os.close(log)
        shown.close()


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
