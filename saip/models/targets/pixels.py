"""Pixels as the target (MAE)."""

from __future__ import annotations

from torch import Tensor

from saip.models.heads.pixel_reconstruction_head import PixelReconstructionHead
from saip.models.targets.base import BaseTarget, Pixels
from saip.registry import MODELS
from saip.structures import PatchMask, Views


@MODELS.register_module()
class PixelTarget(BaseTarget):
    """Squared error of the pixels of hidden patches, see ``saip.PixelReconstructionHead``.

    Args:
        pixels: what is known of the images.
        norm_pix: normalize each target patch by its own mean and (unbiased) deviation.
    """

    def __init__(self, pixels: Pixels, norm_pix: bool = True) -> None:
        super().__init__()
        self.head = PixelReconstructionHead(pixels.patch_size, norm_pix)
        self.out_channels = pixels.patch_size**2 * 3

    def loss(
        self, predictions: Tensor, views: Views, name: str, mask: PatchMask
    ) -> dict[str, Tensor]:
        """Mean squared error."""
        return {'loss': self.head.loss(predictions, views[name].images, mask)}
