"""Encoders."""

from saip.models.backbones.base import BaseEncoder, build_encoder
from saip.models.backbones.vit import ViTEncoder

__all__ = ['BaseEncoder', 'ViTEncoder', 'build_encoder']
