"""The PNG that a tool writes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from saip.datasets.files import write_atomic
from saip.errors import InputError


def check_png(flag: str, path: Path) -> None:
    """Refuse a file whose name does not say what is written.

    Raises:
        InputError: its suffix is not ``.png``.
    """
    if path.suffix.lower() != '.png':
        raise InputError(f'{flag} {path}: a PNG is written; its name has to end with .png')


def write_png(path: Path, image: Image.Image) -> None:
    """Write an image; a reader never sees half of it."""
    buffer = BytesIO()
    image.save(buffer, 'PNG')
    write_atomic(path, buffer.getvalue())
