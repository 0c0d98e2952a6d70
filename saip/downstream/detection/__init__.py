"""Pedestrian detection with CrowdDet on CrowdHuman; needs mmdetection and mmcv's compiled ops.

Chu et al., Detection in Crowded Scenes: One Proposal, Multiple Predictions, 2020. Configurations
name this package in ``custom_imports``.
"""

from saip.downstream.detection.dataset import CrowdHuman
from saip.downstream.detection.head import CrowdDetHead
from saip.downstream.detection.metric import CrowdMetric

__all__ = ['CrowdDetHead', 'CrowdHuman', 'CrowdMetric']
