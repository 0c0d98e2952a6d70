"""Histograms of oriented gradients as the target."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.models.ops.masked_tokens import take_patches
from saip.models.ops.precision import full_precision, widen
from saip.models.targets.base import BaseTarget, Pixels, mean_of_scored
from saip.registry import MODELS
from saip.structures import PatchMask, Views


@MODELS.register_module()
class HOGTarget(BaseTarget):
    """Histograms of oriented gradients of hidden patches (MaskFeat, arXiv:2112.09133).

    Per channel: central differences with mirrored borders, unsigned directions in equal bins over
    half a turn, each pixel counting by the length of its gradient, summed over square cells. A
    cell's histogram of one channel has length 1, so that neither mean nor deviation of the
    normalization matters. The loss is the mean squared error.

    Args:
        pixels: what is known of the images.
        bins: directions.
        cells: cells along a side of a patch.

    Raises:
        InputError: a patch is no whole number of cells.
    """

    def __init__(self, pixels: Pixels, bins: int = 9, cells: int = 2) -> None:
        super().__init__()
        patch_size = pixels.patch_size
        if cells < 1 or patch_size % cells:
            raise InputError(
                f'target.cells={cells}: patches of {patch_size} pixels have no such number of cells'
            )
        if bins < 2:
            raise InputError(f'target.bins={bins}: at least 2 directions are needed')
        self.bins = bins
        self.cells = cells
        self.cell_size = patch_size // cells
        self.out_channels = 3 * bins * cells**2

    @torch.no_grad()
    def histograms(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, L, C) in raster order; values ordered (row, column, channel, bin)."""
        with full_precision(images.device):
            x = widen(images)
            across = F.pad(x, (1, 1, 0, 0), mode='reflect')
            down = F.pad(x, (0, 0, 1, 1), mode='reflect')
            dx = across[..., 2:] - across[..., :-2]
            dy = down[..., 2:, :] - down[..., :-2, :]
            angle = torch.atan2(dy, dx) / math.pi * self.bins
            which = angle.floor().long() % self.bins
            votes = x.new_zeros(*x.shape[:2], self.bins, *x.shape[2:])
            votes.scatter_(2, which[:, :, None], torch.hypot(dx, dy)[:, :, None])
            sums = F.avg_pool2d(votes.flatten(0, 1), self.cell_size)
            cells = F.normalize(sums, dim=1).unflatten(0, x.shape[:2])
        b, c, n, height, width = cells.shape
        side = self.cells
        cells = cells.view(b, c, n, height // side, side, width // side, side)
        return cells.permute(0, 3, 5, 4, 6, 1, 2).reshape(b, -1, self.out_channels)

    def loss(
        self, predictions: Tensor, views: Views, name: str, mask: PatchMask
    ) -> dict[str, Tensor]:
        """Mean squared error."""
        wanted = take_patches(self.histograms(views[name].images), mask.scored)
        errors = (predictions.to(wanted.dtype) - wanted).square().mean(-1)
        return {'loss': mean_of_scored(errors, mask)}
