"""Encoders."""

from saip.models.backbones.base import BaseEncoder, build_encoder
from saip.models.backbones.block_pyramid import BlockPyramid
from saip.models.backbones.hierarchical import HierarchicalEncoder
from saip.models.backbones.openmmlab import OpenMMLabEncoder
from saip.models.backbones.pyramid import FeaturePyramid
from saip.models.backbones.timm import TimmEncoder
from saip.models.backbones.vit import ViTEncoder

__all__ = [
    'BaseEncoder',
    'BlockPyramid',
    'FeaturePyramid',
    'HierarchicalEncoder',
    'OpenMMLabEncoder',
    'TimmEncoder',
    'ViTEncoder',
    'build_encoder',
]
