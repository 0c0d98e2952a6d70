"""Heads own the losses."""

from saip.models.heads.attention_relation_head import AttentionRelationHead
from saip.models.heads.contrastive_head import SymmetricContrastiveHead
from saip.models.heads.feature_distillation_head import FeatureDistillationHead
from saip.models.heads.instance_mask_head import InstanceMaskHead
from saip.models.heads.part_classification_head import PartClassificationHead
from saip.models.heads.pixel_reconstruction_head import PixelReconstructionHead
from saip.models.heads.self_distillation_head import SelfDistillationHead

__all__ = [
    'AttentionRelationHead',
    'FeatureDistillationHead',
    'InstanceMaskHead',
    'PartClassificationHead',
    'PixelReconstructionHead',
    'SelfDistillationHead',
    'SymmetricContrastiveHead',
]
