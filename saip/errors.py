"""Errors that a user can remove, and how a command line ends with one.

Everything else that is raised is a bug and keeps its traceback. This module imports nothing of
the package.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import TextIO

PACKAGE = Path(__file__).resolve().parent

REFUSALS = (
    AssertionError,
    FileNotFoundError,
    KeyError,
    NameError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What libraries raise about a configuration that they cannot use."""

_PLACES = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class InputError(ValueError):
    """Input, configuration, file or flag is wrong; the message names it and says what is right."""


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that the input names does not exist."""


class MissingLibraryError(InputError, ImportError):
    """A library that the input needs is not installed."""


class UnknownArgumentError(InputError, TypeError):
    """A configuration gives a class an argument that it does not take."""


class StartError(InputError):
    """A run could not start, for a reason that its user can remove."""


class StoppedError(RuntimeError):
    """A run had to stop: it began with input that looked right, and cannot go on."""


class PreemptedError(StoppedError):
    """A run was asked to stop, has saved a checkpoint, and goes on when it is resumed."""


PREEMPTED_STATUS = 75
"""Exit status after it: EX_TEMPFAIL of sysexits.h, try again later."""


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    # An error in a data worker arrives as a traceback whose last line is 'CLASS: message'.
    if text.startswith('Caught '):
        text = text.strip().splitlines()[-1].split(': ', 1)[-1]
    return printable(' '.join(text.split())) or type(error).__name__


def printable(text: str) -> str:
    """Escape what is no character of a line: the name of a file may hold any bytes."""
    if text.isprintable():
        return text
    shown = (c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)
    return ''.join(shown)


def number_of(count: int, what: str) -> str:
    """Return a number with its noun: ``1 epoch``, ``2 epochs``."""
    return f'{count:,} {what}' if count == 1 else f'{count:,} {what}s'


def escape_on(stream: TextIO) -> None:
    """Let a stream escape what its encoding cannot write, in place of raising an error."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors='backslashreplace')


def is_bug(error: BaseException) -> bool:
    """Whether this package raised an error that is not meant for users.

    The innermost frame decides, of the first error of a chain: mmengine raises again what the
    constructors of its registries raise. An argument that a function only passes on is a matter
    of its caller.
    """
    if isinstance(error, InputError | StoppedError):
        return False
    while type(earlier := error.__cause__ or error.__context__) is type(error):
        error = earlier
    text = str(error.args[0]) if error.args else ''
    if text.startswith('Caught '):  # in a data worker, whose frames are text
        files = re.findall(r'^ *File "(.+?)", line \d+', text, re.MULTILINE)
        return bool(files) and _is_ours(files[-1])
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    while frames and _passes_on(frames[-1], error):
        frames.pop()
    return bool(frames) and _is_ours(frames[-1].f_code.co_filename)


def _is_ours(file: str) -> bool:
    path = Path(file)  # code made of a text has a name that is no path
    return path.is_absolute() and path.resolve().is_relative_to(PACKAGE)


def _passes_on(frame: FrameType, error: BaseException) -> bool:
    """Whether an unexpected argument stands in the ``**kwargs`` of the frame's function."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not isinstance(error, TypeError) or found is None:
        return False
    keywords = inspect.getargvalues(frame).keywords
    return keywords is not None and found.group(1) in frame.f_locals.get(keywords, {})


@contextmanager
def library_refusals(place: str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Raise an InputError for what a library refuses while it builds from a configuration.

    Args:
        place: what the message begins with, such as the name of the configuration.
        kind: of the error.

    Raises:
        InputError: a library raised one of ``REFUSALS``. Bugs of this package and its own
            messages stay what they are.
    """
    try:
        yield
    except REFUSALS as error:
        if isinstance(error, InputError) or is_bug(error):
            raise
        raise kind(f'{place}: {one_line(error)}') from error


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line on stderr and an exit status for what a user can remove.

    These are :class:`InputError`, :class:`StoppedError`, a file that cannot be read or written,
    and a library that is not installed; all else is a bug and keeps its traceback. The status is
    2 where the input is wrong, 1 where a run had to stop, 75 where it was asked to and can be
    resumed, 130 after a second Ctrl-C. With ``SAIP_TRACEBACK=1`` in the
    environment the traceback is shown instead. What is printed meanwhile may name any file.
    """
    escape_on(sys.stdout)
    escape_on(sys.stderr)
    try:
        yield
    except PreemptedError as error:
        for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(
                name, signal.SIG_IGN
            )  # asked again: the status stays, to the very end
        print(f'{Path(sys.argv[0]).name}: {one_line(error)}', file=sys.stderr, flush=True)
        raise SystemExit(PREEMPTED_STATUS) from None
    except KeyboardInterrupt:
        print(f'{Path(sys.argv[0]).name}: interrupted', file=sys.stderr, flush=True)
        raise SystemExit(128 + signal.SIGINT) from None
    except (InputError, StoppedError, OSError, ImportError) as error:
        if os.environ.get('SAIP_TRACEBACK') == '1' or not _is_meant_for_users(error):
            raise
        print(
            f'{Path(sys.argv[0]).name}: error: {one_line(error)}', file=sys.stderr, flush=True
        )
        raise SystemExit(2 if _is_wrong_input(error) else 1) from None


def _is_meant_for_users(error: BaseException) -> bool:
    match error:
        case InputError() | StoppedError():
            return True
        case OSError():  # one that names no file was not raised about a path that a user gave
            return error.filename is not None
        case ImportError():  # of a library, not of a module of ours
            return (error.name or '').partition('.')[0] != PACKAGE.name
    return False


def _is_wrong_input(error: BaseException) -> bool:
    return isinstance(error, (InputError, ImportError, *_PLACES))
