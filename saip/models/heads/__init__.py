"""Heads own the losses."""

from saip.models.heads.alignment_head import AlignmentHead
from saip.models.heads.instance_mask_head import InstanceMaskHead
from saip.models.heads.pixel_reconstruction_head import PixelReconstructionHead
from saip.models.heads.relation_head import RelationHead
from saip.models.heads.self_distillation_head import SelfDistillationHead

__all__ = [
    'AlignmentHead',
    'InstanceMaskHead',
    'PixelReconstructionHead',
    'RelationHead',
    'SelfDistillationHead',
]
