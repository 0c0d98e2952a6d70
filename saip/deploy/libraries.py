"""Libraries of the exported formats, which nothing else of the project needs."""

from __future__ import annotations

import importlib
from typing import Any

from saip.errors import MissingLibraryError


def require(name: str) -> Any:
    """Import a library of the extra ``deploy``.

    Raises:
        MissingLibraryError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        library = name.partition('.')[0]
        raise MissingLibraryError(
            f"{library} is needed here and cannot be imported ({error}): pip install 'saip[deploy]'"
        ) from error
