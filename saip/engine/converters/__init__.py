"""Checkpoints of other projects, renamed to this project's keys."""

from saip.engine.converters.path import convert_path, has_class_position, path_architecture
from saip.engine.converters.release import (
    convert_release,
    release_architecture,
    revert_release,
)

__all__ = [
    'convert_path',
    'convert_release',
    'has_class_position',
    'path_architecture',
    'release_architecture',
    'revert_release',
]
