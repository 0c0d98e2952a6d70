"""Names of files in the log that no encoding can write."""

from __future__ import annotations

import io
import logging

from saip.errors import escape_on


def escape_names(logger: logging.Logger) -> None:
    """Let the handlers of a logger escape what their encoding cannot write.

    The name of a file is bytes. Those that are not UTF-8 would make a handler print a traceback
    in place of the line, and the line would be missing in the file.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.errors = 'backslashreplace'  # of a stream that is opened later
        stream = getattr(handler, 'stream', None)
        if isinstance(stream, io.TextIOWrapper):
            escape_on(stream)
