"""Files that are written whole, and files that have to be there."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from saip.errors import InputError, MissingFileError

from .crops import DataError

SYNTHETIC = 'people.json'
"""A file that every folder of synthetic persons or animals has."""


def write_atomic(path: str | os.PathLike[str], content: bytes, lasting: bool = False) -> None:
    """Write a file beside its place and move it there, making the folder if need be.

    Args:
        path: of the file.
        content: all of it.
        lasting: wait until it is on the disk, so that it is there after a power failure.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        with temporary.open('wb') as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    if lasting:
        sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a move inside a folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text in UTF-8, without the byte order mark that some editors begin it with.

    Raises:
        OSError: the file cannot be read.
        DataError: it is no such text; the message names the line.
    """
    content = Path(path).read_bytes()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise DataError(f'{path}: not UTF-8 text (line {line}: {error.reason})') from error


def check_output(path: str | os.PathLike[str]) -> None:
    """Check that a file can have this place, before the work that it is to hold.

    Raises:
        InputError: it is a folder, a file is where one of its folders should be, or its folder is
            read-only.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f'{path}: the file to write, but there is a folder of this name')
    for folder in target.parents:
        if folder.is_file():
            raise InputError(f'{path}: the file to write, but {folder} is no folder')
    folder = next(parent for parent in target.absolute().parents if parent.is_dir())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f'{path}: the file to write, but {folder} is read-only')


def require_files(paths: Iterable[str], named_in: str, layout: str) -> None:
    """Check that files exist, by one listing of each folder instead of a question for each file.

    Args:
        paths: of the files.
        named_in: what names them, an annotation file or a list; for messages.
        layout: one sentence without its full stop that says how the data set has to lie.

    Raises:
        FileNotFoundError: a folder or a file is missing.
    """
    wanted: dict[str, set[str]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        wanted.setdefault(folder or '.', set()).add(name)
    missing = []
    for folder, names in wanted.items():
        if not os.path.isdir(folder):
            raise MissingFileError(
                f'{folder}: no such folder, but {named_in} names files in it. {layout}'
            )
        missing += [os.path.join(folder, name) for name in names - set(os.listdir(folder))]
    if missing:
        total = sum(map(len, wanted.values()))
        raise MissingFileError(
            f'{min(missing)}: no such file, and {len(missing)} of the {total} files to read that '
            f'{named_in} names are missing. {layout}'
        )
