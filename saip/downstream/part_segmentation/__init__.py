"""Body-part segmentation with SCHP on LIP; needs mmsegmentation.

Li et al., Self-Correction for Human Parsing, 2020. Nothing imports this package by itself: the
configurations name it in ``custom_imports``.
"""

from .dataset import LIPParts
from .head import CE2PHead
from .hook import SelfCorrectionHook
from .segmentor import SelfCorrectingSegmentor
from .transforms import LoadPartLabels, PersonAffine

__all__ = [
    'CE2PHead',
    'LIPParts',
    'LoadPartLabels',
    'PersonAffine',
    'SelfCorrectingSegmentor',
    'SelfCorrectionHook',
]
