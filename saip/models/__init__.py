"""Encoders, experts, objectives and algorithms."""

from saip.models import (
    backbones,
    heads,
    necks,
    objectives,
    schedules,
    selfsup,
    targets,
    tokenizers,
)
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.models.experts import EMAExpert, OfficialEMAExpert
from saip.models.frozen_expert import FrozenExpert

__all__ = [
    'EMAExpert',
    'FrozenExpert',
    'OfficialEMAExpert',
    'ViewsPreprocessor',
    'backbones',
    'heads',
    'necks',
    'objectives',
    'schedules',
    'selfsup',
    'targets',
    'tokenizers',
]
