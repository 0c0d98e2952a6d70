"""Objectives: what a pretraining method asks of the views, and the losses it gets."""

from saip.models.objectives.alignment import CrossScaleAlignment
from saip.models.objectives.base import BaseObjective, Parts
from saip.models.objectives.csm import CrossScaleMatching, OfficialCrossScaleMatching
from saip.models.objectives.csr import CrossScaleReconstruction
from saip.models.objectives.css import CrossScaleSearch
from saip.models.objectives.relation import RelationMatching
from saip.models.objectives.spread import TokenSpread

__all__ = [
    'BaseObjective',
    'CrossScaleAlignment',
    'CrossScaleMatching',
    'CrossScaleReconstruction',
    'CrossScaleSearch',
    'OfficialCrossScaleMatching',
    'Parts',
    'RelationMatching',
    'TokenSpread',
]
