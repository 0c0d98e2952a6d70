"""Work in a thread, and the line that shows how far it is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Generic, TypeVar

SECONDS_BETWEEN_LINES = {True: 0.5, False: 30.0}
"""Between two lines, on a terminal (where each takes the place of the last) and in a file."""

Result = TypeVar('Result')


class Beside(Generic[Result]):
    """Something that is done in a thread, which ends with the process.

    Args:
        action: what to do.

    Attributes:
        error: what it has raised.
    """

    def __init__(self, action: Callable[[], Result]) -> None:
        self._action = action
        self._result: list[Result] = []
        self.error: BaseException | None = None
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._result.append(self._action())
        except BaseException as error:
            self.error = error

    def is_done(self, seconds: float) -> bool:
        """Whether it ends within some seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Result:
        """Wait for the end; returns or raises what the action does."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self._result[0]


def follow(action: Callable[[], None], title: str, state: Callable[[], str]) -> None:
    """Do something, and show its time meanwhile and afterwards.

    Args:
        action: what to do; Ctrl-C raises KeyboardInterrupt outside of it.
        title: what the line begins with.
        state: what stands behind the time while it is done.

    Raises:
        BaseException: what the action raises.
    """
    started = written = time.monotonic()
    terminal = sys.stdout.isatty()
    if terminal:
        _show(title, '')
    work = Beside(action)
    while not work.is_done(0.2):
        now = time.monotonic()
        if now - written >= SECONDS_BETWEEN_LINES[terminal]:
            written = now
            _show(_line(title, now - started, state()), '' if terminal else '\n')
    if work.error is not None and terminal:
        print()
    work.result()
    _show(_line(title, time.monotonic() - started, ''))


def _line(title: str, seconds: float, state: str) -> str:
    return f'{title:<28} {seconds:5.0f} s  {state}'.rstrip()


def _show(text: str, end: str = '\n') -> None:
    start = '\r\033[K' if sys.stdout.isatty() else ''
    print(f'{start}{text}', end=end, flush=True)


def compiled_files(log: Path) -> str:
    """Return how many files a compiler has done, as ninja writes it, such as ``34/78``."""
    if not log.is_file():
        return ''
    found = re.findall(r'^ *\[(\d+/\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
    return found[-1] if found else ''
