"""The segmentor of scenes."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmseg.models import EncoderDecoder

from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.registry import MODELS


@MODELS.register_module()
class UPerNet(EncoderDecoder):
    """mmsegmentation's ``EncoderDecoder`` whose heads synchronize their BatchNorm.

    On several GPUs each has two images, too few for statistics of their own. With
    ``norm_cfg=dict(type='BN')`` in the heads the same configuration runs in one process and on
    CPUs.

    Args:
        **options: of the parent.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if get_world_size() > 1:
            synchronize_batch_norm(self.decode_head)
            if self.with_auxiliary_head:
                synchronize_batch_norm(self.auxiliary_head)
