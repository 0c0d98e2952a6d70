"""Garments with parts and attributes: KE-RCNN on Fashionpedia; needs mmdetection and mmcv's ops.

Wang et al., KE-RCNN: Unifying Knowledge based Reasoning into Part-level Attribute Parsing, 2022.
Configurations name this package in ``custom_imports``.
"""

from saip.downstream.part_attributes.dataset import Fashionpedia
from saip.downstream.part_attributes.head import KEHead
from saip.downstream.part_attributes.hook import KnowledgeHook
from saip.downstream.part_attributes.metric import FashionpediaMetric
from saip.downstream.part_attributes.roi_head import KERoIHead
from saip.downstream.part_attributes.transforms import (
    FilterGarments,
    LoadGarments,
    PackGarments,
)
from saip.downstream.part_attributes.visualizer import GarmentVisualizer

__all__ = [
    'Fashionpedia',
    'FashionpediaMetric',
    'FilterGarments',
    'GarmentVisualizer',
    'KEHead',
    'KERoIHead',
    'KnowledgeHook',
    'LoadGarments',
    'PackGarments',
]
