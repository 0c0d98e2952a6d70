"""Parsing R-CNN's head: geometric and context encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import NonLocal2d
from mmengine.model import BaseModule, kaiming_init, normal_init
from torch import Tensor, nn

from saip.registry import MODELS


@MODELS.register_module()
class GCEHead(BaseModule):
    """Labels of a person's pixels from the features of a box (Parsing R-CNN, section 3.2).

    Atrous spatial pyramid pooling (a 1x1 convolution, 3x3 convolutions with dilations, and the
    mean of the box), a non-local block, convolutions, and a deconvolution whose result is doubled
    by bilinear interpolation. The non-local block begins as the identity. Nothing depends on the
    other boxes of a batch.

    Args:
        in_channels: of the features.
        branch_channels: of each branch of the pooling.
        channels: of everything after it; a multiple of 32, the groups of the block's norm.
        dilations: of the 3x3 branches.
        num_convs: 3x3 convolutions after the block.
        num_parts: labels, the background included.
        loss_weight: of the cross-entropy.
        init_cfg: only for initializers.
    """

    SCALE = 4
    """Cells of the prediction per cell of the features, along a side."""

    def __init__(
        self,
        in_channels: int = 256,
        branch_channels: int = 256,
        channels: int = 512,
        dilations: Sequence[int] = (6, 12, 18),
        num_convs: int = 4,
        num_parts: int = 20,
        loss_weight: float = 2.0,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.loss_weight = loss_weight
        self.point = _conv(in_channels, branch_channels, 1)
        self.dilated = nn.ModuleList(
            _conv(in_channels, branch_channels, 3, dilation) for dilation in dilations
        )
        self.pooled = _conv(in_channels, branch_channels, 1)
        self.project = _conv((2 + len(dilations)) * branch_channels, channels, 1)
        norm = dict(type='GN', num_groups=32)
        self.non_local = NonLocal2d(channels, reduction=1, norm_cfg=norm)
        self.convs = nn.Sequential(*(_conv(channels, channels, 3) for _ in range(num_convs)))
        self.upsample = nn.ConvTranspose2d(channels, num_parts, 4, stride=2, padding=1)

    def init_weights(self) -> None:
        """Initialize the convolutions for ReLU, the last one near zero."""
        super().init_weights()
        groups = (self.point, self.dilated, self.pooled, self.project, self.convs)
        for layer in (layer for group in groups for layer in group.modules()):
            if isinstance(layer, nn.Conv2d):
                kaiming_init(layer, nonlinearity='relu')
        normal_init(self.upsample, std=0.001)

    def forward(self, features: Tensor) -> Tensor:
        """(R, C, s, s) of boxes -> logits (R, parts, 4 s, 4 s)."""
        pooled = self.pooled(features.mean((2, 3), keepdim=True))
        branches = [self.point(features), *(conv(features) for conv in self.dilated)]
        branches.append(pooled.expand(-1, -1, *features.shape[2:]))
        mixed = self.non_local(self.project(torch.cat(branches, dim=1)))
        logits = self.upsample(self.convs(mixed))
        return F.interpolate(logits, scale_factor=2, mode='bilinear', align_corners=False)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Weighted cross-entropy, mean over boxes and cells.

        Args:
            logits: (R, parts, S, S).
            targets: (R, S, S) int64.
        """
        return self.loss_weight * F.cross_entropy(logits.float(), targets)


def _conv(channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, and ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel, padding=padding, dilation=dilation),
        nn.ReLU(inplace=True),
    )
