"""Segmentation of scenes with UPerNet on ADE20K; needs mmsegmentation.

Xiao et al., Unified Perceptual Parsing for Scene Understanding, 2018. Configurations name this
package in ``custom_imports``.
"""

from saip.downstream.semantic_segmentation.dataset import ADE20K
from saip.downstream.semantic_segmentation.segmentor import UPerNet
from saip.downstream.semantic_segmentation.transforms import LoadSceneLabels

__all__ = ['ADE20K', 'LoadSceneLabels', 'UPerNet']
