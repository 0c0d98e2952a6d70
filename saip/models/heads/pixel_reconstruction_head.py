"""Loss of cross-scale reconstruction."""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor

from saip.errors import InputError
from saip.models.ops.patchify import patchify
from saip.registry import MODELS
from saip.structures import PatchMask

# Keeps flat patches finite; the value of MAE's normalized pixels.
VARIANCE_EPSILON = 1e-6


@MODELS.register_module()
class PixelReconstructionHead(BaseModule):
    """Squared error of predicted pixels (Eq. 2).

    Args:
        patch_size: side of a patch in pixels.
        norm_pix: normalize each target patch by its own mean and (unbiased) deviation.
        scored: ``masked`` scores the hidden patches, ``all`` every patch.
    """

    def __init__(
        self,
        patch_size: int = 16,
        norm_pix: bool = True,
        scored: Literal['masked', 'all'] = 'masked',
    ) -> None:
        super().__init__()
        if scored not in ('masked', 'all'):
            raise InputError(f"csr scored={scored!r}: choose 'masked' or 'all'")
        self.patch_size = patch_size
        self.norm_pix = norm_pix
        self.scored = scored

    def select(self, mask: PatchMask) -> Tensor:
        """(B, S) raster indices of the patches whose prediction is scored."""
        if self.scored == 'masked':
            return mask.scored
        b, length = mask.restore.shape
        return torch.arange(length, device=mask.restore.device).expand(b, length)

    def target(self, images: Tensor, scored: Tensor) -> Tensor:
        """(B, 3, H, W) images and (B, S) indices -> (B, S, patch * patch * 3) pixels to predict."""
        patches = patchify(images, self.patch_size)
        patches = patches.gather(1, scored[..., None].expand(-1, -1, patches.shape[-1]))
        if not self.norm_pix:
            return patches
        # Not by var_mean, which takes several times as long on a CPU.
        centered = patches - patches.mean(-1, keepdim=True)
        variance = centered.square().sum(-1, keepdim=True) / (patches.shape[-1] - 1)
        return centered / (variance + VARIANCE_EPSILON).sqrt()

    def loss(self, predictions: Tensor, images: Tensor, mask: PatchMask) -> Tensor:
        """Mean squared error of (B, S, patch * patch * 3) predictions for :meth:`select`."""
        target = self.target(images, self.select(mask))
        errors = (predictions.to(target.dtype) - target).square().mean(-1)  # (B, S)
        if self.scored == 'all' or mask.scored_weight is None:
            return errors.mean()
        weight = mask.scored_weight.to(errors.dtype)
        return (errors * weight).sum() / weight.sum()
