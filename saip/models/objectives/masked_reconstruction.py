"""Masked image modeling with pixels as the target (MAE)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class MaskedReconstruction(BaseObjective):
    """The hidden patches of a view are predicted from its visible ones (MAE, arXiv:2111.06377).

    A masked view is encoded without its hidden patches; a decoder reads the final tokens, never
    the feature level. Of several views, such as two masks of one image (HAP, arXiv:2310.20695),
    the loss is the mean.

    Args:
        parts: the encoder, which gives width, grid and patch size of the decoder.
        neck: the decoder.
        head: the loss.
        views: entries of the recipe that make the masked views.
        loss_weight: factor of the loss.
    """

    needs_dropped_tokens = True

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        views: tuple[str, ...] = ('masked',),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        encoder = parts.encoder
        stride = encoder.patch_stride
        grid = (encoder.img_size[0] // stride, encoder.img_size[1] // stride)
        sizes = {'in_channels': encoder.patch_dims, 'grid': grid, 'patch_size': stride}
        self.neck = MODELS.build({**sizes, **neck})
        self.head = MODELS.build({'patch_size': stride, **head})
        self.views = parts.expand(tuple(views))

    def student_inputs(self) -> dict[str, Outputs]:
        """Image token and visible patches of the masked views, after the last block."""
        return dict.fromkeys(self.views, Outputs(image_token=True, patch_tokens=True))

    def other_views(self) -> frozenset[str]:
        """The masked views' pixels are the target."""
        return frozenset(self.views)

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Squared error of the reconstructed patches."""
        losses = []
        for name in self.views:
            images, mask = views[name].images, views[name].mask
            if mask is None:
                raise RuntimeError(f'the view {name} came without its mask')
            features = student.views[name].require_final()
            predictions = self.neck(features, mask, self.head.select(mask))
            losses.append(self.head.loss(predictions, images, mask))
        return {'loss': self.loss_weight * torch.stack(losses).mean()}
