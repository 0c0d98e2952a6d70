"""Processes that wait for a line and answer with seconds, and processes that never rest."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
ANSWER = '=> '
BUSY = 'while True: pass'


def answer(value: object) -> None:
    """Write what a peer is asked for."""
    print(f'\n{ANSWER}{value}', flush=True)  # a progress bar may stand in the line


def answer_times(
    step: Callable[[int], object], before: Callable[[], object] = lambda: None
) -> None:
    """Make as many steps as each line says, after a first one; answer with the seconds of one.

    Args:
        step: is given its number.
        before: what comes before the steps of a line, and does not count.
    """
    step(0)
    answer('ready')
    for line in sys.stdin:
        before()
        start = time.perf_counter()
        for number in range(int(line)):
            step(number)
        answer((time.perf_counter() - start) / int(line))


class Peer:
    """A process that is asked again and again.

    Args:
        command: its interpreter and arguments.
        variables: of its environment, beside those of this process.
        paths: where it looks for modules first; by default this project's.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        paths: Sequence[Path] = (BENCHMARKS, BENCHMARKS.parent),
    ) -> None:
        environment = {**os.environ, **(variables or {})}
        found = [*map(str, paths), *filter(None, [environment.get('PYTHONPATH')])]
        environment['PYTHONPATH'] = os.pathsep.join(found)
        self.process = subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Read as it is written: a process whose pipe is full waits, and others may wait for it.
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    @classmethod
    def of_module(cls, module: str, *arguments: object, **variables: str) -> Peer:
        """A module of this folder as a program."""
        return cls([sys.executable, '-m', module, *map(str, arguments)], variables)

    def wait(self) -> str:
        """The next answer.

        Raises:
            RuntimeError: it has ended.
        """
        found = self._answers.get()
        if found is None:
            raise RuntimeError(f'{self.process.args} has ended with {self.process.wait()}')
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):  # libraries write what they like
                self._answers.put(line.removeprefix(ANSWER).strip())
        self._answers.put(None)

    def write(self, line: object) -> None:
        """Ask, without waiting for the answer."""
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def ask(self, line: object) -> str:
        """Ask and wait for the answer."""
        self.write(line)
        return self.wait()

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that never rest."""
    processes = [subprocess.Popen([sys.executable, '-c', BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
