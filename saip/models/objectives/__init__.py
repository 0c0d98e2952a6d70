"""Objectives: what a pretraining method asks of the views, and the losses it gets."""

from saip.models.objectives.attention_relation import AttentionRelationDistillation
from saip.models.objectives.base import BaseObjective, Parts
from saip.models.objectives.context_autoencoder import ContextAutoencoder
from saip.models.objectives.csm import CrossScaleMatching, OfficialCrossScaleMatching
from saip.models.objectives.csr import CrossScaleReconstruction
from saip.models.objectives.css import CrossScaleSearch
from saip.models.objectives.feature_distillation import FeatureDistillation
from saip.models.objectives.image_token_contrast import ImageTokenContrast
from saip.models.objectives.koleo import KoLeo
from saip.models.objectives.masked_reconstruction import MaskedReconstruction
from saip.models.objectives.semantic_parts import SemanticParts

__all__ = [
    'AttentionRelationDistillation',
    'BaseObjective',
    'ContextAutoencoder',
    'CrossScaleMatching',
    'CrossScaleReconstruction',
    'CrossScaleSearch',
    'FeatureDistillation',
    'ImageTokenContrast',
    'KoLeo',
    'MaskedReconstruction',
    'OfficialCrossScaleMatching',
    'Parts',
    'SemanticParts',
]
