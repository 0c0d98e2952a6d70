"""Garments, their parts and attributes with KE-RCNN on Fashionpedia; needs mmdetection and mmcv's ops.

Wang et al., KE-RCNN: Unifying Knowledge based Reasoning into Part-level Attribute Parsing, 2022.
Configurations name this package in ``custom_imports``.
"""

from saip.downstream.part_attributes.metric import FashionpediaMetric

__all__ = ['FashionpediaMetric']
