"""The head of SCHP: parts and edges from four maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn

from saip.errors import InputError
from saip.registry import MODELS

from .losses import (
    consistency_loss,
    edge_loss,
    lovasz_loss,
    part_edges,
    part_loss,
    refined_loss,
)


class ParsingLogits(NamedTuple):
    """What the head says.

    Attributes:
        parts: (B, C, h, w), before the edges are known.
        fused: (B, C, h, w), with the edges' features; the prediction.
        edges: (B, 2, h, w), no edge and edge.
    """

    parts: Tensor
    fused: Tensor
    edges: Tensor


class EMALogits(NamedTuple):
    """What an earlier model says of the same images, as targets.

    Attributes:
        fused: (B, C, h, w).
        edges: (B, 2, h, w).
        share: weight of the labels in the target; the rest is this model's.
    """

    fused: Tensor
    edges: Tensor
    share: float


@MODELS.register_module()
class CE2PHead(BaseDecodeHead):
    """A-CE2P, the network of SCHP: context, high resolution and edges.

    From maps x2, x3, x4, x5, finest first: pyramid pooling of x5, brought to the size of x2 and
    joined with it, gives ``parts``. One convolution, shared by x2, x3 and x4, finds their edges.
    Both branches' features together give ``fused``. Convolutions are followed by BatchNorm and
    ReLU.

    Args:
        in_channels: of the four maps.
        num_classes: the background included.
        channels: width of the part features.
        pool_channels: width of each pooled map, and of the context.
        edge_channels: width of the edge features of each map.
        detail_channels: width to which x2 is brought before it joins the context; None keeps
            its own.
        pool_scales: cells along each side of the pooled maps.
        dropout_ratio: before the last layer, whole channels.
        part_weight: of the loss of the parts, half cross-entropy and half Lovász-softmax.
        edge_weight: of the loss of the edges.
        consistency_weight: of the agreement between parts and edges.
        refined_over_classes: whether the divergence from corrected targets is summed over the
            classes of a pixel, or their mean as in earlier versions, see
            :func:`saip.downstream.part_segmentation.losses.refined_loss`.

    Raises:
        InputError: ``refined_over_classes`` is neither.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        channels: int = 256,
        pool_channels: int = 512,
        edge_channels: int = 192,
        detail_channels: int | None = 48,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout_ratio: float = 0.1,
        part_weight: float = 1.0,
        edge_weight: float = 1.0,
        consistency_weight: float = 0.1,
        refined_over_classes: Literal['sum', 'mean'] = 'mean',
    ) -> None:
        if refined_over_classes not in ('sum', 'mean'):
            raise InputError(
                f"decode_head.refined_over_classes={refined_over_classes!r}: choose 'sum' or "
                "'mean'"
            )
        super().__init__(
            in_channels=list(in_channels),
            channels=channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            norm_cfg=dict(type='BN'),
            in_index=[0, 1, 2, 3],
            input_transform='multiple_select',
            # The base class insists on a loss; loss_by_feat has its own.
            loss_decode=dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True),
            align_corners=True,
        )
        self.part_weight = part_weight
        self.edge_weight = edge_weight
        self.consistency_weight = consistency_weight
        self.refined_over_classes = refined_over_classes
        self.pooling = PPM(
            tuple(pool_scales),
            self.in_channels[3],
            pool_channels,
            conv_cfg=None,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
            align_corners=True,
        )
        pooled = self.in_channels[3] + len(pool_scales) * pool_channels
        self.context = self._conv(pooled, pool_channels, kernel=3)
        self.narrow = self._conv(pool_channels, channels)
        detail = self.in_channels[0] if detail_channels is None else detail_channels
        self.detail = self._conv(self.in_channels[0], detail)
        self.part_features = nn.Sequential(
            self._conv(channels + detail, channels), self._conv(channels, channels)
        )
        self.part_logits = nn.Conv2d(channels, num_classes, 1)
        self.edge_features = nn.ModuleList(
            self._conv(width, edge_channels) for width in self.in_channels[:3]
        )
        self.edge_logits = nn.Conv2d(edge_channels, 2, 3, padding=1)
        self.edge_fusion = nn.Conv2d(6, 2, 1)
        self.fusion = self._conv(channels + 3 * edge_channels, channels)

    def _conv(self, width: int, out: int, kernel: int = 1) -> ConvModule:
        padding = kernel // 2
        return ConvModule(
            width, out, kernel, padding=padding, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )

    def forward(self, inputs: Sequence[Tensor]) -> ParsingLogits:
        """Four maps, finest first -> logits at the size of the finest."""
        maps = self._transform_inputs(inputs)
        size = tuple(maps[0].shape[-2:])
        context = self.context(torch.cat([maps[3], *self.pooling(maps[3])], 1))
        coarse = _resize(self.narrow(context), size)
        parts = self.part_features(torch.cat([coarse, self.detail(maps[0])], 1))
        features = [layer(x) for layer, x in zip(self.edge_features, maps[:3], strict=True)]
        edges = self.edge_fusion(
            torch.cat([_resize(self.edge_logits(x), size) for x in features], 1)
        )
        both = torch.cat([parts, *(_resize(x, size) for x in features)], 1)
        return ParsingLogits(self.part_logits(parts), self.cls_seg(self.fusion(both)), edges)

    def loss_by_feat(
        self,
        seg_logits: ParsingLogits,
        batch_data_samples: Sequence[Any],
        ema_logits: EMALogits | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of the parts (of both outputs), the edges, and their consistency.

        Args:
            seg_logits: of the batch.
            batch_data_samples: with ``gt_sem_seg``; 255 is ignored.
            ema_logits: logits of the average of earlier models. With them targets are no
                longer the labels alone,
                and a KL divergence replaces each cross-entropy.
        """
        labels = self._stack_batch_gt(list(batch_data_samples)).squeeze(1)
        size = tuple(labels.shape[-2:])
        outputs = [_resize(x, size) for x in (seg_logits.parts, seg_logits.fused)]
        edges = _resize(seg_logits.edges, size)
        ignored = self.ignore_index
        valid = labels != ignored
        true_edges = part_edges(labels, ignored)
        if ema_logits is None:
            losses = [part_loss(x, labels, ignored) for x in outputs]
            edge = edge_loss(edges, true_edges, valid)
        else:
            over, share = self.refined_over_classes, ema_logits.share
            soft = _resize(ema_logits.fused, size)
            losses = [refined_loss(x, soft, labels, share, valid, over) for x in outputs]
            soft = _resize(ema_logits.edges, size)
            edge = refined_loss(edges, soft, true_edges, share, valid, over)
        overlap = [lovasz_loss(x, labels, ignored) for x in outputs]
        consistency = [consistency_loss(x, edges, labels, ignored) for x in outputs]
        return {
            'loss_parts': self.part_weight / 2 * torch.stack(losses).sum(),
            'loss_lovasz': self.part_weight / 2 * torch.stack(overlap).sum(),
            'loss_edges': self.edge_weight * edge,
            'loss_consistency': self.consistency_weight * torch.stack(consistency).sum(),
        }

    def predict_by_feat(
        self, seg_logits: ParsingLogits, batch_img_metas: Sequence[dict[str, Any]]
    ) -> Tensor:
        """Return the fused logits at the size of the input, (B, C, H, W)."""
        return _resize(seg_logits.fused, tuple(batch_img_metas[0]['img_shape'][:2]))


def _resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, corners on corners."""
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)
