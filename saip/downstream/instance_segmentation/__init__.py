"""Detection and segmentation of objects with Mask R-CNN on COCO.

Needs mmdetection and mmcv's compiled ops. He et al., Mask R-CNN, 2017. Configurations name this
package in ``custom_imports``.
"""

from saip.downstream.instance_segmentation.dataset import CocoInstances
from saip.downstream.instance_segmentation.head import SyncedBBoxHead

__all__ = ['CocoInstances', 'SyncedBBoxHead']
