"""Files that appear whole: mmengine's storage backend for checkpoints."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from saip.datasets.files import sync_folder

PARTIAL_SUFFIX = '.partial'

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""A full disk, and a full share of one."""


@register_backend('saip.atomic')
class AtomicBackend(LocalBackend):
    """Local files of which a reader sees the old content or the new, never a part."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file: beside its place, to the disk, then in one move to its place.

        Raises:
            OSError: the file cannot be written; the old one is untouched. Of a full disk it says
                how much was to be written and how much is free.
        """
        target = Path(filepath)
        partial = target.with_name(target.name + PARTIAL_SUFFIX)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            amounts = _amounts(target, len(obj)) if error.errno in NO_ROOM else ''
            reason = f'{error.strerror}{amounts}; earlier checkpoints are intact'
            raise OSError(error.errno, reason, str(target)) from error
        sync_folder(target.parent)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text file in the same way."""
        self.put(obj.encode(encoding), filepath)


def _amounts(target: Path, needed: int) -> str:
    free = shutil.disk_usage(target.parent).free
    return f' ({needed / 1e6:.1f} MB were to be written, {free / 1e6:.1f} MB are free)'
