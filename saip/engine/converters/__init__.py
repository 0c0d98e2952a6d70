"""Checkpoints of other projects, renamed to this project's keys."""

from saip.engine.converters.release import (
    convert_release,
    release_architecture,
    revert_release,
)

__all__ = ['convert_release', 'release_architecture', 'revert_release']
