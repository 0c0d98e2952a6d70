"""Pretraining algorithms."""

from saip.models.selfsup.pretrainer import MultiObjectivePretrainer
from saip.models.selfsup.saip import SAIP

__all__ = ['SAIP', 'MultiObjectivePretrainer']
