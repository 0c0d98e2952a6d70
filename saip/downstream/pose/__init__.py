"""Pose and whole-body landmarks with ViTPose; needs mmpose, which has all but the checks of files.

Xu et al., ViTPose, 2022. Configurations name this package in ``custom_imports``.
"""

from saip.downstream.pose.chimpact import ChimpACT
from saip.downstream.pose.datasets import AP10K, CocoKeypoints, CocoWholeBody, HumanArt

__all__ = ['AP10K', 'ChimpACT', 'CocoKeypoints', 'CocoWholeBody', 'HumanArt']
