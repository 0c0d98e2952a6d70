"""Pose and whole-body landmarks with ViTPose; needs mmpose, which has all but the checks of files.

Xu et al., ViTPose, 2022. Nothing imports this package by itself: the configurations name it in
``custom_imports``.
"""

from .datasets import AP10K, CocoKeypoints, CocoWholeBody, HumanArt

__all__ = ['AP10K', 'CocoKeypoints', 'CocoWholeBody', 'HumanArt']
