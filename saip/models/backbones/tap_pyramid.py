"""Maps tapped from four blocks of a plain encoder, as a backbone of segmentors and detectors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder, InitCfg, refuse_weights
from saip.models.ops.batch_norm import synchronize_batch_norm
from saip.models.ops.freeze import freeze_unread
from saip.registry import MODELS

TAPS = (Fraction(1, 3), Fraction(1, 2), Fraction(2, 3), Fraction(1))
"""Shares of the blocks after which maps are taken."""

PATCH = 16
"""Stride of the encoder's own maps, from which strides 4 to 32 are made."""


@MODELS.register_module()
class TapPyramid(BaseModule):
    """Maps of strides 4, 8, 16 and 32, each from another block of a plain ViT.

    The blocks are those after a third, a half, two thirds and all of the depth (4, 6, 8 and 12 of
    12; 8, 12, 16 and 24 of 24), as the code of CAE reads them for segmentation and detection (Chen
    et al., Context Autoencoder for Self-Supervised Representation Learning, 2022). Their tokens
    pass no norm. The first map is enlarged by two 2x2 deconvolutions with BatchNorm and GELU
    between, the second by one, the third stays, the last is pooled by 2x2 maxima. All layers keep
    the encoder's width and begin as torch makes them. Several processes synchronize the BatchNorm.

    Args:
        encoder: configuration of the encoder; its ``init_cfg`` loads its weights strictly.
        init_cfg: only for initializers.

    Attributes:
        pyramid_channels: channels of the four maps.

    Raises:
        InputError: the encoder has stages in place of equal blocks, less than four of them, or
            patches of another size than 16.
        WeightsError: ``init_cfg`` asks for pretrained weights.
    """

    def __init__(self, encoder: dict[str, Any], init_cfg: InitCfg = None) -> None:
        refuse_weights('saip.TapPyramid', init_cfg)
        super().__init__(init_cfg)
        self.encoder: BaseEncoder = MODELS.build(encoder)
        if self.encoder.patch_stride != PATCH:
            raise InputError(
                f'saip.TapPyramid: patches of {self.encoder.patch_stride} pixels lead to no maps '
                f'of strides 4, 8, 16 and 32; {PATCH} is needed'
            )
        dims = self.encoder.patch_dims
        self.levels = nn.ModuleList(
            [
                nn.Sequential(_double(dims), nn.BatchNorm2d(dims), nn.GELU(), _double(dims)),
                _double(dims),
                nn.Identity(),
                # The last row and column of an odd map stay, as in saip.FeaturePyramid.
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        )
        self.pyramid_channels = [dims] * 4
        if get_world_size() > 1:
            synchronize_batch_norm(self.levels)
        # The encoder has frozen what its own forward does not read; here the maps are others.
        self.encoder.requires_grad_(True)
        freeze_unread(self.encoder, self._read)

    def _read(self, images: Tensor) -> list[Tensor]:
        return self.encoder.block_maps(images, TAPS, normed=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> four maps (B, D, h, w), finest first."""
        pairs = zip(self.levels, self._read(images), strict=True)
        return tuple(level(tapped).contiguous() for level, tapped in pairs)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of layers, for learning rates that decay with depth.

        The encoder's layers have its own depths; the pyramid's follow the encoder and have, like a
        name without ``prefix``, the number of layers minus 1.
        """
        return self.encoder.get_layer_depth(param_name, f'{prefix}encoder.')


def _double(dims: int) -> nn.ConvTranspose2d:
    """(B, D, h, w) -> (B, D, 2h, 2w)."""
    return nn.ConvTranspose2d(dims, dims, kernel_size=2, stride=2)
