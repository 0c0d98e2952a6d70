"""Work that may end its process, such as compiled code on a damaged file, done in another one."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import time
from collections.abc import Callable


class ApartError(Exception):
    """The other process gave no answer; the message says why, after the name of the work."""


def run_apart(function: Callable[[], str], seconds: float) -> str:
    """Return the text that a function gives in a copy of this process, which ends afterwards.

    Args:
        function: called in the copy. It must neither compute on a device nor join other processes.
        seconds: after which the copy is ended.

    Raises:
        ApartError: the function raised an error, ended its process, or took longer.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(function, reads, writes)
    os.close(writes)
    try:
        content = _read_all(reads, time.monotonic() + seconds)
    finally:
        os.close(reads)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # nothing, if it has answered and left
        _, status = os.waitpid(child, 0)
    if content is None:
        raise ApartError(f'took longer than {seconds:g} s')
    if not content:
        ended = os.waitstatus_to_exitcode(status)
        name = signal.Signals(-ended).name if ended < 0 else f'exit status {ended}'
        raise ApartError(f'ended the process that read it ({name})')
    kind, text = json.loads(content)
    if kind == 'error':
        raise ApartError(text)
    return str(text)


def _answer(function: Callable[[], str], reads: int, writes: int) -> None:
    """Work in the copy, and leave it without what this process does at its end."""
    try:
        os.close(reads)
        faulthandler.disable()  # the other process says what happened
        try:
            answer = ('answer', function())
        except Exception as error:
            answer = ('error', f'{type(error).__name__}: {error}')
        with open(writes, 'wb') as file:
            file.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _read_all(descriptor: int, deadline: float) -> bytes | None:
    """Return all that is written until the other end is closed; None after the deadline."""
    content = b''
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        part = os.read(descriptor, 1 << 16)
        if not part:
            return content
        content += part
