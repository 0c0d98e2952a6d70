"""The box head of Mask R-CNN."""

from __future__ import annotations

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared4Conv1FCBBoxHead
from mmengine.dist import get_world_size

from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.registry import MODELS


@MODELS.register_module()
class SyncedBBoxHead(Shared4Conv1FCBBoxHead):
    """mmdet's head of four convolutions and a linear layer, with synchronized BatchNorm.

    With ``norm_cfg=dict(type='BN')`` the same configuration runs in one process and on CPUs.

    Args:
        **options: of the parent.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if get_world_size() > 1:
            synchronize_batch_norm(self)
