"""A full disk costs a line: of the run where it ends, of its log where it can go on."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from saip.engine.atomic_backend import NO_ROOM


@contextmanager
def named_full_disk(folder: str) -> Iterator[None]:
    """Name the folder of a run in an error of a full disk that names no file.

    Python names the file that cannot be opened, not the one that cannot be written on.

    Raises:
        OSError: the disk, or the user's share of it, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM or error.filename is not None:
            raise
        free = shutil.disk_usage(folder).free if Path(folder).is_dir() else 0
        reason = f'{error.strerror} ({free / 1e6:.1f} MB are free)'
        raise OSError(error.errno, reason, folder) from error


def keep_training(runner: Runner) -> None:
    """Let a full disk cost a run lines of its log and points of its curves, and nothing more.

    What becomes of the run is decided at its next checkpoint.
    """
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.FileHandler):
            _report_once(handler)
    for backend in runner.visualizer._vis_backends.values():
        report = _reporter(type(backend).__name__, runner.logger)
        for name in ('add_scalar', 'add_scalars', 'close'):
            setattr(backend, name, _kept(getattr(backend, name), report))
    if not isinstance(threading.excepthook, _ThreadErrors):
        threading.excepthook = _ThreadErrors(threading.excepthook)


def _report_once(handler: logging.FileHandler) -> None:
    """Let a log file that cannot be written say so once, not with a traceback for every line."""
    other_errors, reported = handler.handleError, False

    def handle(record: logging.LogRecord) -> None:
        nonlocal reported
        if not _is_full(sys.exc_info()[1]):
            other_errors(record)
        elif not reported:
            reported = True
            print(
                f'{handler.baseFilename}: disk full, lines of the log are lost', file=sys.stderr
            )

    handler.handleError = handle  # type: ignore[method-assign]


def _reporter(name: str, logger: logging.Logger) -> Callable[[OSError], None]:
    """A function that says once that something of a name cannot be written."""
    reported = False

    def report(error: OSError) -> None:
        nonlocal reported
        if not reported:
            logger.error(f'{name}: {error}; points are lost')
        reported = True

    return report


def _kept(write: Callable[..., None], report: Callable[[OSError], None]) -> Callable[..., None]:
    """A method that writes if it can, and otherwise reports a full disk."""

    def write_if_possible(*args: Any, **kwargs: Any) -> None:
        try:
            write(*args, **kwargs)
        except OSError as error:
            if not _is_full(error):
                raise
            report(error)

    return write_if_possible


class _ThreadErrors:
    """Leaves a full disk in a thread (TensorBoard) to who waits for it; passes the others on."""

    def __init__(self, others: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self.others = others

    def __call__(self, failure: threading.ExceptHookArgs) -> None:
        if not _is_full(failure.exc_value):
            self.others(failure)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in NO_ROOM
