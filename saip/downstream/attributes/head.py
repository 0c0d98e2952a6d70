"""Linear classifier of attributes."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from saip.downstream.attributes.loss import RatioWeightedBCE
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.registry import MODELS


@MODELS.register_module()
class AttributeHead(MultiLabelLinearClsHead):
    """Linear layer, optionally BatchNorm of its logits, and ratio-weighted cross-entropy.

    The baseline has no norm in SOLIDER's settings, which the configurations follow, and one in
    other versions. Predictions carry ``pred_score``, (A,) probabilities, and, of images with
    labels, ``loss``, shape (). The linear layer keeps torch's initialization, as the baseline's.

    Args:
        num_classes: number A of attributes.
        in_channels: width of the image token.
        with_norm: norm the logits.
        init_cfg: see mmengine's ``BaseModule``.
    """

    loss_module: RatioWeightedBCE

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        with_norm: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            loss=RatioWeightedBCE(num_classes),
            init_cfg=init_cfg,
        )
        self.norm = nn.BatchNorm1d(num_classes) if with_norm else nn.Identity()
        if get_world_size() > 1:
            synchronize_batch_norm(self)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Tuple that ends with image tokens (N, D) -> logits (N, A)."""
        return self.norm(super().forward(feats))

    def _get_predictions(
        self, cls_score: Tensor, data_samples: list[DataSample] | None
    ) -> list[DataSample]:
        """Add the loss of labeled images: the learning rate may follow it."""
        samples = super()._get_predictions(cls_score, data_samples)
        if self.loss_module.ready and all('gt_score' in sample for sample in samples):
            truth = torch.stack([sample.gt_score.float() for sample in samples])
            losses = self.loss_module.per_image(cls_score, truth)
            for sample, loss in zip(samples, losses, strict=True):
                sample.set_field(loss, 'loss')
        return samples
