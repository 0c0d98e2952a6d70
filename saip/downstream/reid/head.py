"""Head of the ReID baseline: identity classification behind a BatchNorm, and triplets."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from saip.downstream.reid.loss import batch_hard_triplet
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.registry import MODELS


@MODELS.register_module()
class BNNeckHead(ClsHead):
    """BatchNorm and a linear classifier of identities; distances before, logits behind them.

    Luo et al., Bag of Tricks for person ReID (2019), in the settings of TransReID: the image
    token goes into the triplet loss and is what a search compares, the normed token is
    classified. The norm has no bias and the classifier none either. Losses are ``loss_id``
    (cross-entropy) and ``loss_triplet``, over the images of the process; the statistics of
    the norm are those of all processes.

    Predictions carry ``feature``, the image token (D,).

    Args:
        num_classes: identities of the training set.
        in_channels: width D of the image token.
        init_cfg: see mmengine's ``BaseModule``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        default = dict(type='Normal', layer='Linear', std=0.001)
        super().__init__(
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
            cal_acc=True,
            init_cfg=init_cfg or default,
        )
        self.num_classes = num_classes
        self.norm = nn.BatchNorm1d(in_channels)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(in_channels, num_classes, bias=False)
        if get_world_size() > 1:
            synchronize_batch_norm(self)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Tuple that ends with image tokens (N, D) -> logits (N, C)."""
        return self.classifier(self.norm(self.pre_logits(feats)))

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Return ``loss_id``, ``loss_triplet`` and ``accuracy_top-1`` in percent."""
        losses = super().loss(feats, data_samples, **kwargs)
        losses['loss_id'] = losses.pop('loss')
        tokens = self.pre_logits(feats)
        labels = torch.cat([sample.gt_label for sample in data_samples])
        losses['loss_triplet'] = batch_hard_triplet(tokens, labels)
        return losses

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Write the image token of each image into its sample as ``feature``."""
        tokens = self.pre_logits(feats).float()
        samples = [DataSample() for _ in tokens] if data_samples is None else data_samples
        for sample, token in zip(samples, tokens, strict=True):
            sample.set_field(token, 'feature')
        return samples
