"""Body-part segmentation with SCHP on LIP; needs mmsegmentation.

Li et al., Self-Correction for Human Parsing, 2020. Configurations name this package in
``custom_imports``.
"""

from saip.downstream.part_segmentation.dataset import LIPParts
from saip.downstream.part_segmentation.head import CE2PHead
from saip.downstream.part_segmentation.hook import SelfCorrectionHook
from saip.downstream.part_segmentation.multi_scale import PartIoUMetric
from saip.downstream.part_segmentation.segmentor import SelfCorrectingSegmentor
from saip.downstream.part_segmentation.transforms import LoadPartLabels, PersonAffine

__all__ = [
    'CE2PHead',
    'LIPParts',
    'LoadPartLabels',
    'PartIoUMetric',
    'PersonAffine',
    'SelfCorrectingSegmentor',
    'SelfCorrectionHook',
]
