"""Encoders."""

from saip.models.backbones.base import BaseEncoder, build_encoder
from saip.models.backbones.block_pyramid import BlockPyramid
from saip.models.backbones.hierarchical import HierarchicalEncoder
from saip.models.backbones.openmmlab import OpenMMLabEncoder
from saip.models.backbones.patch_resnet import PatchResNetEncoder
from saip.models.backbones.pyramid import FeaturePyramid
from saip.models.backbones.tap_pyramid import TapPyramid
from saip.models.backbones.timm import TimmEncoder
from saip.models.backbones.vit import ViTEncoder

__all__ = [
    'BaseEncoder',
    'BlockPyramid',
    'FeaturePyramid',
    'HierarchicalEncoder',
    'OpenMMLabEncoder',
    'PatchResNetEncoder',
    'TapPyramid',
    'TimmEncoder',
    'ViTEncoder',
    'build_encoder',
]
