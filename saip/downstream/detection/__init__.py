"""Pedestrian detection with CrowdDet on CrowdHuman; needs mmdetection and mmcv's compiled ops.

Chu et al., Detection in Crowded Scenes: One Proposal, Multiple Predictions, 2020. Nothing imports
this package by itself: the configurations name it in ``custom_imports``.
"""

from .dataset import CrowdHuman
from .head import CrowdDetHead

__all__ = ['CrowdDetHead', 'CrowdHuman']
