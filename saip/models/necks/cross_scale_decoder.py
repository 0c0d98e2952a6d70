"""CSR decoder: reconstructs a masked view with the help of the anchor.

Legend: B images, K visible and L all patches of the masked view, M anchor patches, S scored
patches, D width of the decoder.
"""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.compiling import Compilable
from saip.errors import InputError
from saip.models.ops.blocks import NORM_EPS, ConditionedBlock, SelfBlock, init_linear
from saip.models.ops.layer_norm import norm_tokens
from saip.models.ops.masked_tokens import fill_gaps, take_patches
from saip.models.ops.pos_embed import PosInterp, resample, resample_sequence
from saip.models.ops.regions import affine, normed_linear
from saip.registry import MODELS
from saip.structures import EncoderOutput, Grid, PatchMask

Condition = Literal['patch_tokens', 'sequence', 'image_token']
CONDITIONS = ('patch_tokens', 'sequence', 'image_token')


@MODELS.register_module()
class CrossScaleDecoder(Compilable, BaseModule):
    """Predicts the pixels of a masked view's patches, conditioned on the anchor (Eq. 2).

    Args:
        in_channels: width of the encoder's dense features.
        masked_channels: width of the masked view's features where another encoder than the
            anchor's gives them; they get an embedding of their own. None: the same encoder,
            one embedding for both.
        grid: anchor grid on which the decoder's position embeddings are learned.
        patch_size: side of a predicted patch in pixels.
        condition: ``patch_tokens``: each block queries the anchor's patch tokens by
            cross-attention (Section III-A); ``sequence``: the anchor's patch tokens and the
            masked view's are one sequence under self-attention (Appendix A); ``image_token``:
            the anchor's image token is one more token of the sequence, as in the method's first
            release.
        dims: width D.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers over D.
        pos_interp: how position embeddings reach the masked view's grid.
        pos_init: ``trunc_normal`` (0.02) or ``uniform`` on [0, 1) for positions, mask token and,
            with ``sequence``, the segment embedding.

    Raises:
        InputError: an unknown condition.
    """

    segment_embed: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        grid: Grid,
        patch_size: int = 16,
        masked_channels: int | None = None,
        condition: Condition = 'patch_tokens',
        dims: int = 512,
        depth: int = 6,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
        pos_interp: PosInterp = 'grid2d',
        pos_init: Literal['trunc_normal', 'uniform'] = 'trunc_normal',
    ) -> None:
        super().__init__()
        if condition not in CONDITIONS:
            raise InputError(
                f'csr condition={condition!r}: choose one of {", ".join(CONDITIONS)}'
            )
        self.grid = (int(grid[0]), int(grid[1]))
        self.condition = condition
        self.pos_interp = pos_interp
        self.pos_init = pos_init
        self.embed = nn.Linear(in_channels, dims)
        self.embed_masked = (
            None if masked_channels is None else nn.Linear(masked_channels, dims)
        )
        self.mask_token = nn.Parameter(torch.empty(1, 1, dims))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid[0] * grid[1], dims))
        block = ConditionedBlock if condition == 'patch_tokens' else SelfBlock
        self.blocks = nn.ModuleList(block(dims, num_heads, mlp_ratio) for _ in range(depth))
        if condition == 'patch_tokens':
            self.memory_norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.predict = nn.Linear(dims, patch_size**2 * 3)
        self.segment_embed = (
            nn.Parameter(torch.empty(1, 1, dims)) if condition == 'sequence' else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform linear layers; positions and mask token as ``pos_init`` says."""
        self.apply(init_linear)
        for parameter in (self.mask_token, self.pos_embed, self.segment_embed):
            if parameter is None:
                continue
            if self.pos_init == 'uniform':
                nn.init.uniform_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(
        self, masked: EncoderOutput, anchor: EncoderOutput, mask: PatchMask, scored: Tensor
    ) -> Tensor:
        """Predict the scored patches.

        Args:
            masked: dense features of the masked view, (B, K, C) visible patches.
            anchor: dense features of the whole anchor.
            mask: what is hidden.
            scored: (B, S) raster indices of the patches to predict.

        Returns:
            (B, S, patch * patch * 3) pixels in the order of ``patchify``.
        """
        tokens = self._restore(self._of_masked(masked.require_patch_tokens()), mask)
        if self.condition == 'patch_tokens':
            x = self._query_anchor(tokens, masked.grid, anchor)
        elif self.segment_embed is not None:
            x = self._join_anchor(tokens, masked.grid, anchor, self.segment_embed)
        else:
            x = self._attend_together(tokens, masked, anchor)
        read = take_patches(x, scored)
        return self.run(
            normed_linear, read, affine(self.norm), self.norm.eps, affine(self.predict)
        )

    def _place(self, tokens: Tensor, rows: Tensor, grid: Grid) -> Tensor:
        """Add the positions of a grid to (B, h * w, D) tokens, in their type."""
        return tokens + resample(rows, self.grid, grid, self.pos_interp).to(tokens.dtype)

    def _of_masked(self, tokens: Tensor) -> Tensor:
        """Embed tokens of the masked view, (..., masked_channels) -> (..., D)."""
        return (self.embed if self.embed_masked is None else self.embed_masked)(tokens)

    def _restore(self, visible: Tensor, mask: PatchMask) -> Tensor:
        """(B, K, D) visible tokens -> (B, L, D) in raster order, mask tokens in the gaps."""
        return fill_gaps(visible, self.mask_token, mask)

    def _query_anchor(self, tokens: Tensor, grid: Grid, anchor: EncoderOutput) -> Tensor:
        """(B, L, D) queries read the anchor's (B, M, D) patch tokens in every block."""
        rows = self.pos_embed[0, 1:]
        x = self._place(tokens, rows, grid)
        memory = self._place(self.embed(anchor.require_patch_tokens()), rows, anchor.grid)
        memory = norm_tokens(memory, affine(self.memory_norm), self.memory_norm.eps)
        for block in self.blocks:
            x = block(x, memory)
        return x

    def _join_anchor(
        self, tokens: Tensor, grid: Grid, anchor: EncoderOutput, segment: Tensor
    ) -> Tensor:
        """Self-attention over [(B, L, D) patches, (B, M, D) patches of the anchor].

        Both images share the table of positions, so a segment embedding marks the anchor's
        tokens. Nothing reads these after the last block, which computes the others alone.
        """
        rows = self.pos_embed[0, 1:]
        memory = self.embed(anchor.require_patch_tokens())
        memory = self._place(memory + segment.to(memory.dtype), rows, anchor.grid)
        x = self._place(tokens, rows, grid)
        length = x.shape[1]
        x = torch.cat([x, memory], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1](x, queries=length)

    def _attend_together(
        self, tokens: Tensor, masked: EncoderOutput, anchor: EncoderOutput
    ) -> Tensor:
        """Self-attention over [masked image token, anchor image token, (B, L, D) patches].

        With ``flat1d`` the anchor's image token takes the first of L + 1 resampled rows, as in
        the method's first release; with ``grid2d`` it shares the class row.
        """
        leading = [
            self._of_masked(masked.require_image_token()),
            self.embed(anchor.require_image_token()),
        ]
        x = torch.cat([torch.stack(leading, 1), tokens], dim=1)
        token_row, rows = self.pos_embed[0, :1], self.pos_embed[0, 1:]
        if self.pos_interp == 'flat1d':
            positions = [token_row, resample_sequence(rows, tokens.shape[1] + 1)]
        else:
            patches = resample(rows, self.grid, masked.grid, self.pos_interp)
            positions = [token_row, token_row, patches]
        x = x + torch.cat(positions).to(x.dtype)
        for block in self.blocks:
            x = block(x)
        return x[:, 2:]
