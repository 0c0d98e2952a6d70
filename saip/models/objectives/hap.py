"""Structure-aware masked image modeling (HAP, arXiv:2310.20695): two masks of one image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class TwoMaskReconstruction(BaseObjective):
    """The hidden patches of several masked views, reconstructed by one decoder.

    The loss is the mean over the views.

    Args:
        parts: encoder, which gives width, grid and patch size of the decoder; one that leaves
            hidden patches out.
        neck: the decoder: ``neck(output, mask, scored)`` predicts (B, S, patch * patch * 3) pixels.
        head: the loss.
        views: the masked views.
        loss_weight: factor of the loss.

    Raises:
        InputError: the encoder computes with hidden patches.
    """

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        views: tuple[str, ...] = ('masked_a', 'masked_b'),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        encoder = parts.encoder
        if not encoder.drops_tokens:
            raise InputError(
                f'reconstruction from the visible patches alone (HAP) needs an encoder that leaves '
                f'the hidden ones out, but {type(encoder).__name__} runs over the whole map; take '
                'a plain ViT (saip.ViTEncoder), such as SAIP_BACKBONE=vit-tiny-p16'
            )
        stride = encoder.patch_stride
        sizes = {
            'in_channels': encoder.patch_dims,
            'grid': (encoder.img_size[0] // stride, encoder.img_size[1] // stride),
            'patch_size': stride,
        }
        self.neck = MODELS.build({**sizes, **neck})
        self.head = MODELS.build({'patch_size': stride, **head})
        self.views = parts.expand(tuple(views))

    def student_inputs(self) -> dict[str, Outputs]:
        """Final tokens of the masked views; the decoder attends to the image token, too."""
        return dict.fromkeys(self.views, Outputs(image_token=True, patch_tokens=True))

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Squared error of the reconstructed patches, the mean over the views."""
        losses = []
        for name in self.views:
            mask = views[name].mask
            if mask is None:
                raise RuntimeError(f'the view {name} came without its mask')
            output = student.views[name].require_final()
            predictions = self.neck(output, mask, self.head.select(mask))
            losses.append(self.head.loss(predictions, views[name].images, mask))
        return {'loss': self.loss_weight * torch.stack(losses).mean()}


@MODELS.register_module()
class ImageTokenContrast(BaseObjective):
    """Image tokens of two views of one image find each other among those of other images.

    Args:
        parts: views.
        head: the loss.
        views: the two views.
        loss_weight: factor of the loss.

    Raises:
        InputError: these are not two views.
    """

    def __init__(
        self,
        parts: Parts,
        head: dict[str, Any],
        views: tuple[str, str] = ('masked_a', 'masked_b'),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        self.head = MODELS.build(head)
        self.views = parts.expand(tuple(views))
        if len(self.views) != 2 or self.views[0] == self.views[1]:
            raise InputError(f'a contrast is between two views, not {", ".join(self.views)}')

    def student_inputs(self) -> dict[str, Outputs]:
        """Image tokens of both views."""
        return dict.fromkeys(self.views, Outputs(image_token=True))

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Cross-entropy of finding the other view."""
        one, other = (
            student.views[name].require_final().require_image_token() for name in self.views
        )
        return {'loss': self.loss_weight * self.head.loss(one, other)}
