"""Encoders, experts, objectives and algorithms."""

from saip.models import backbones, heads, necks, objectives, selfsup
from saip.models.data_preprocessor import ViewsPreprocessor
from saip.models.experts import EMAExpert, FrozenExpert

__all__ = [
    'EMAExpert',
    'FrozenExpert',
    'ViewsPreprocessor',
    'backbones',
    'heads',
    'necks',
    'objectives',
    'selfsup',
]
