"""Maskers: which patches of a view are hidden, drawn in vectors over the batch."""

from saip.views.maskers.base import MaskDraw, Masker, build_masker, kept_patches
from saip.views.maskers.block import BlockMask
from saip.views.maskers.complement import ComplementMask
from saip.views.maskers.official import OfficialMask
from saip.views.maskers.part import PartMask
from saip.views.maskers.random import RandomMask

__all__ = [
    'BlockMask',
    'ComplementMask',
    'MaskDraw',
    'Masker',
    'OfficialMask',
    'PartMask',
    'RandomMask',
    'build_masker',
    'kept_patches',
]
