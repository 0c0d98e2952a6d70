"""Pretraining algorithms."""

from saip.models.selfsup.pretrainer import Pretrainer
from saip.models.selfsup.saip import SAIP

__all__ = ['SAIP', 'Pretrainer']
