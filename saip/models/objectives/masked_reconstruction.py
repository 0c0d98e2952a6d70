"""Masked image modeling with pixels as the target (MAE)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class MaskedReconstruction(BaseObjective):
    """The hidden patches of a view are predicted from its visible ones (MAE, arXiv:2111.06377).

    The view ``masked`` is encoded without its hidden patches; a decoder reads the final tokens,
    never the feature level.

    Args:
        parts: the encoder, which gives width, grid and patch size of the decoder.
        neck: the decoder.
        head: the loss.
        loss_weight: factor of the loss.
    """

    needs_dropped_tokens = True

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        encoder = parts.encoder
        stride = encoder.patch_stride
        grid = (encoder.img_size[0] // stride, encoder.img_size[1] // stride)
        sizes = {'in_channels': encoder.patch_dims, 'grid': grid, 'patch_size': stride}
        self.neck = MODELS.build({**sizes, **neck})
        self.head = MODELS.build({'patch_size': stride, **head})

    def student_inputs(self) -> dict[str, Outputs]:
        """Image token and visible patches of the masked view, after the last block."""
        return {'masked': Outputs(image_token=True, patch_tokens=True)}

    def other_views(self) -> frozenset[str]:
        """The masked view's pixels are the target."""
        return frozenset({'masked'})

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Squared error of the reconstructed patches."""
        images, mask = views['masked'].images, views['masked'].mask
        if mask is None:
            raise RuntimeError('the masked view came without its mask')
        features = student.views['masked'].require_final()
        predictions = self.neck(features, mask, self.head.select(mask))
        return {'loss': self.loss_weight * self.head.loss(predictions, images, mask)}
