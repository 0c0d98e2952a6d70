"""Folders of drawn images: they appear complete or not at all, and know what they hold."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from saip.datasets.coco import load_json
from saip.datasets.files import SYNTHETIC
from saip.errors import InputError

CONTACT_SHEET = 'contact_sheet.png'


def write_folder(
    out: str | os.PathLike[str], stamp: dict, fill: Callable[[Path], None]
) -> bool:
    """Make a folder; it appears at once, complete, or not at all.

    Args:
        out: folder to make. One with the same finished set is left as it is.
        stamp: what the set is, for a file of that name.
        fill: writes everything into the folder it is given.

    Returns:
        True if the set was written, False if it was there already.

    Raises:
        ValueError: ``out`` holds something else.
    """
    out = Path(out)
    if _is_finished(out, stamp):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        temporary.chmod(0o755)
        fill(temporary)
        (temporary / SYNTHETIC).write_text(json.dumps(stamp, indent=2) + '\n', encoding='utf-8')
        return _put_in_place(temporary, out, stamp)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, out: Path, stamp: dict) -> bool:
    """Rename the finished folder; False if another process was faster with the same set."""
    try:
        os.replace(temporary, out)
    except OSError:
        if not _is_finished(out, stamp):
            raise
        return False
    return True


def _is_finished(out: Path, stamp: dict) -> bool:
    """Tell whether ``out`` holds exactly this set.

    Raises:
        ValueError: it holds anything else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    path = out / SYNTHETIC
    if not path.is_file():
        raise InputError(
            f'{out} exists and is no set of synthetic persons: name another folder'
        )
    found = load_json(path)
    if not isinstance(found, dict):
        raise InputError(f'{path}: no description of a set of synthetic persons')
    differing = sorted(key for key in stamp | found if stamp.get(key) != found.get(key))
    if differing:
        what = ', '.join(
            f'{key} {found.get(key)} instead of {stamp.get(key)}' for key in differing
        )
        raise InputError(
            f'{out} holds people drawn with {what}: remove it or name another folder'
        )
    return True
