"""The decoder of masked image modeling: self-attention over visible and mask tokens.

Legend: B images, K visible and L all patches of the masked view, S scored patches, D width.
"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.compiling import Compilable
from saip.models.ops.blocks import NORM_EPS, SelfBlock, init_linear
from saip.models.ops.masked_tokens import fill_gaps, take_patches
from saip.models.ops.pos_embed import resample_grid, sincos_positions
from saip.models.ops.regions import affine, normed_linear
from saip.registry import MODELS
from saip.structures import EncoderOutput, Grid, PatchMask


@MODELS.register_module()
class MaskedPatchDecoder(Compilable, BaseModule):
    """Predicts the pixels of a masked view's patches from its visible ones (MAE's decoder).

    The image token is one more token of the sequence, without a position. Positions are a fixed
    sin-cos table, which is in no checkpoint.

    Args:
        in_channels: width of the encoder's final tokens.
        grid: patch grid of the table of positions.
        patch_size: side of a predicted patch in pixels.
        dims: width D, a multiple of 4.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers over D.

    Raises:
        InputError: ``dims`` is no multiple of 4.
    """

    positions: Tensor

    def __init__(
        self,
        in_channels: int,
        grid: Grid,
        patch_size: int = 16,
        dims: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.grid = (int(grid[0]), int(grid[1]))
        self.embed = nn.Linear(in_channels, dims)
        self.mask_token = nn.Parameter(torch.empty(1, 1, dims))
        self.register_buffer('positions', sincos_positions(self.grid, dims), persistent=False)
        self.blocks = nn.ModuleList(SelfBlock(dims, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.predict = nn.Linear(dims, patch_size**2 * 3)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform linear layers, a normal mask token."""
        self.apply(init_linear)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, masked: EncoderOutput, mask: PatchMask, scored: Tensor) -> Tensor:
        """Predict the scored patches.

        Args:
            masked: final features of the masked view, (B, K, C) visible patches and the image
                token.
            mask: what is hidden.
            scored: (B, S) raster indices of the patches to predict.

        Returns:
            (B, S, patch * patch * 3) pixels in the order of ``patchify``.
        """
        patches = fill_gaps(self.embed(masked.require_patch_tokens()), self.mask_token, mask)
        places = resample_grid(self.positions, self.grid, masked.grid)
        patches = patches + places.to(patches.dtype)
        token = self.embed(masked.require_image_token())
        x = torch.cat([token[:, None].to(patches.dtype), patches], dim=1)
        for block in self.blocks:
            x = block(x)
        read = take_patches(x[:, 1:], scored)
        return self.run(
            normed_linear, read, affine(self.norm), self.norm.eps, affine(self.predict)
        )
