"""Maps after several blocks of a plain encoder, as a backbone of segmentors."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from saip.models.backbones.base import BaseEncoder, InitCfg, refuse_weights
from saip.models.ops.freeze import freeze_unread
from saip.registry import MODELS

THIRDS = (Fraction(1, 3), Fraction(2, 3), Fraction(1))


@MODELS.register_module()
class BlockPyramid(BaseModule):
    """Three maps after a third, two thirds and all of a plain ViT's blocks, the first enlarged.

    Four maps are returned, finest first, as heads of A-CE2P's kind read them: the first map, four
    times as large by bilinear interpolation, the second, and the last twice, since nothing is
    coarser. The first two pass a norm of their own, which leaves the encoder's residual stream as
    it was pretrained; the last has the encoder's.

    Args:
        encoder: configuration of the encoder; its ``init_cfg`` loads its weights strictly.
        init_cfg: only for initializers.

    Attributes:
        pyramid_channels: channels of the four maps.

    Raises:
        InputError: the encoder has stages in place of equal blocks.
        WeightsError: ``init_cfg`` asks for pretrained weights.
    """

    def __init__(self, encoder: dict[str, Any], init_cfg: InitCfg = None) -> None:
        refuse_weights('saip.BlockPyramid', init_cfg)
        super().__init__(init_cfg)
        self.encoder: BaseEncoder = MODELS.build(encoder)
        dims = self.encoder.patch_dims
        self.norms = nn.ModuleList(LayerNorm2d(dims) for _ in range(2))
        self.pyramid_channels = [dims] * 4
        # The encoder has frozen what its own forward does not read; here the maps are others.
        self.encoder.requires_grad_(True)
        freeze_unread(self.encoder, self._read)

    def _read(self, images: Tensor) -> list[Tensor]:
        return self.encoder.block_maps(images, THIRDS)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> four maps (B, C, h, w), the first of a quarter of the stride."""
        first, second, last = self._read(images)
        first = F.interpolate(
            self.norms[0](first), scale_factor=4, mode='bilinear', align_corners=False
        )
        return first, self.norms[1](second), last, last

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter and number of layers, for learning rates that decay with depth.

        The encoder's layers have its own depths; the pyramid's follow the encoder and have, like a
        name without ``prefix``, the number of layers minus 1.
        """
        return self.encoder.get_layer_depth(param_name, f'{prefix}encoder.')
