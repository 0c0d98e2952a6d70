"""CrowdDet's head, whose predictions can be drawn."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.bbox_heads import MultiInstanceBBoxHead
from mmengine.structures import InstanceData

from saip.registry import MODELS


@MODELS.register_module()
class CrowdDetHead(MultiInstanceBBoxHead):
    """mmdet's ``MultiInstanceBBoxHead`` with whole numbers as predicted labels.

    mmdet's are floating-point zeros, with which its visualizer cannot look up names and colors.
    Arguments are the parent's.
    """

    def predict_by_feat(self, *args: Any, **kwargs: Any) -> list[InstanceData]:
        """Return the detections of each image: ``bboxes`` (N, 4), ``scores``, ``labels``."""
        results = super().predict_by_feat(*args, **kwargs)
        for result in results:
            # They have none yet where detections of several views are still to be merged.
            if 'labels' in result:
                result.labels = result.labels.long()
        return results
