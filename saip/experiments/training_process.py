"""A training in a process of its own, whose output is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from saip.errors import StoppedError

OUTPUT = 'output.txt'


def run_training(
    command: Sequence[str], work_dir: Path, variables: Mapping[str, str], what: str
) -> None:
    """Run a command that trains in ``work_dir``, and add what it prints to ``output.txt`` there.

    Args:
        command: the command, whose Python finds this package.
        work_dir: made if need be.
        variables: of the environment, beside those that are set.
        what: is trained, for the message.

    Raises:
        StoppedError: the process ended with an error; quotes it.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
    with open(work_dir / OUTPUT, 'a+b') as output:
        begin = output.tell()  # below is what earlier attempts have printed
        done = subprocess.run(
            command,
            env={**os.environ, 'PYTHONPATH': path, 'PYTHON': sys.executable, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(begin)
        printed = output.read().decode(errors='replace')
    if done.returncode:
        raise StoppedError(
            f'{what} stopped with status {done.returncode}: {_last_words(printed)} (all of it in '
            f'{work_dir / OUTPUT})'
        )


def _last_words(printed: str) -> str:
    """The error in what a training has printed, else the last line."""
    lines = printed.strip().splitlines() or ['nothing was printed']
    return next((line for line in reversed(lines) if ': error: ' in line), lines[-1])


def say(line: str) -> None:
    """Tell on stderr how far the work is."""
    print(line, file=sys.stderr, flush=True)
