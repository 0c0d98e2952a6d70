"""CAE's latent contextual regressor and its decoder.

Legend: B images, K visible and S hidden patches, C width of the encoder, D width of the neck.
"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.ops.blocks import NORM_EPS, init_linear
from saip.models.ops.masked_tokens import take_patches
from saip.models.ops.pos_embed import resample_grid, sincos_positions
from saip.models.ops.scaled_blocks import RegressorBlock, ScaledSelfBlock, rates
from saip.registry import MODELS
from saip.structures import EncoderOutput, Grid, PatchMask

HEAD_WIDTH = 64


def heads_of(dims: int, num_heads: int | None) -> int:
    """Number of heads; None takes one for every 64 channels, at least one.

    Raises:
        InputError: the width is no multiple of it.
    """
    chosen = max(1, dims // HEAD_WIDTH) if num_heads is None else num_heads
    if chosen < 1 or dims % chosen:
        raise InputError(f'dims={dims} cannot be shared among num_heads={chosen} heads')
    return chosen


@MODELS.register_module()
class LatentRegressor(BaseModule):
    """Predicts the encoder's tokens of hidden patches from the visible ones (CAE, Section 3.1).

    A mask token stands for every hidden patch. It reads the visible tokens, without the image
    token, and its like; see :class:`saip.models.ops.scaled_blocks.RegressorBlock`.

    Args:
        in_channels: width C of the encoder's final tokens.
        grid: patch grid of the table of positions.
        dims: width D, a multiple of 4; None takes C. Another width than C puts a linear layer
            and a norm between encoder and regressor, and on the alignment targets as well.
        depth: number of blocks.
        num_heads: attention heads; None takes one for every 64 channels.
        mlp_ratio: hidden width of the feed-forward layers over D.
        layer_scale: initial gain of residual branches; 0 for none.
        drop_path: stochastic depth, growing linearly to this rate in the last block.

    Raises:
        InputError: ``dims`` is no multiple of 4 or of the number of heads.
    """

    positions: Tensor

    def __init__(
        self,
        in_channels: int,
        grid: Grid,
        dims: int | None = None,
        depth: int = 4,
        num_heads: int | None = None,
        mlp_ratio: float = 4.0,
        layer_scale: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.grid = (int(grid[0]), int(grid[1]))
        self.dims = in_channels if dims is None else dims
        heads = heads_of(self.dims, num_heads)
        self.embed = (
            nn.Identity()
            if self.dims == in_channels
            else nn.Sequential(
                nn.Linear(in_channels, self.dims), nn.LayerNorm(self.dims, eps=NORM_EPS)
            )
        )
        self.mask_token = nn.Parameter(torch.empty(1, 1, self.dims))
        table = sincos_positions(self.grid, self.dims)
        self.register_buffer('positions', table, persistent=False)
        self.blocks = nn.ModuleList(
            RegressorBlock(self.dims, heads, mlp_ratio, layer_scale, rate)
            for rate in rates(drop_path, depth)
        )
        self.norm = nn.LayerNorm(self.dims, eps=NORM_EPS)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform linear layers, a normal mask token."""
        self.apply(init_linear)
        nn.init.normal_(self.mask_token, std=0.02)

    def places(self, grid: Grid, patches: Tensor) -> Tensor:
        """Positions (B, n, D) of (B, n) patches of a grid."""
        table = resample_grid(self.positions, self.grid, grid)
        return take_patches(table.expand(len(patches), -1, -1), patches)

    def forward(self, masked: EncoderOutput, mask: PatchMask) -> Tensor:
        """Predict the tokens of the hidden patches, (B, S, D), in the order of ``mask.scored``.

        Args:
            masked: (B, K, C) final tokens of the visible patches.
            mask: what is hidden.
        """
        visible = self.embed(masked.require_patch_tokens())
        at_visible = self.places(masked.grid, mask.keep)
        at_hidden = self.places(masked.grid, mask.scored)
        hidden = self.mask_token.expand(*mask.scored.shape, -1)
        for block in self.blocks:
            hidden = block(hidden, visible, at_hidden, at_visible)
        return self.norm(hidden)


@MODELS.register_module()
class MaskedLatentDecoder(BaseModule):
    """Predicts a target of hidden patches from their regressed tokens (CAE, Section 3.1).

    Self-attention among the hidden patches alone, with their positions added once.

    Args:
        dims: width D of the regressed tokens.
        out_channels: numbers that are predicted of each patch.
        depth: number of blocks.
        num_heads: attention heads; None takes one for every 64 channels.
        mlp_ratio: hidden width of the feed-forward layers over D.
        layer_scale: initial gain of residual branches; 0 for none.
        drop_path: stochastic depth, growing linearly to this rate in the last block.

    Raises:
        InputError: ``dims`` is no multiple of the number of heads.
    """

    def __init__(
        self,
        dims: int,
        out_channels: int,
        depth: int = 4,
        num_heads: int | None = None,
        mlp_ratio: float = 4.0,
        layer_scale: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        heads = heads_of(dims, num_heads)
        self.blocks = nn.ModuleList(
            ScaledSelfBlock(dims, heads, mlp_ratio, layer_scale, rate)
            for rate in rates(drop_path, depth)
        )
        self.norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.predict = nn.Linear(dims, out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform linear layers; small scores at the beginning."""
        self.apply(init_linear)
        nn.init.trunc_normal_(self.predict.weight, std=0.02)

    def forward(self, latents: Tensor, places: Tensor) -> Tensor:
        """(B, S, D) regressed tokens and positions -> (B, S, out_channels)."""
        x = latents + places
        for block in self.blocks:
            x = block(x)
        return self.predict(self.norm(x))
