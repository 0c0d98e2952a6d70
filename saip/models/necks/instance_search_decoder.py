"""CSS decoder: finds each query in a scene.

Legend: B scenes, Q queries per scene, T tokens of a query, L = h * w scene cells, D width.
"""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.compiling import Compilable
from saip.models.ops.blocks import NORM_EPS, CrossBlock, SelfBlock, init_linear
from saip.models.ops.layer_norm import norm_tokens
from saip.models.ops.regions import affine, normed_linear
from saip.registry import MODELS
from saip.structures import EncoderOutput


@MODELS.register_module()
class InstanceSearchDecoder(Compilable, BaseModule):
    """Self-attention over a query, cross-attention to the scene, a kernel on scene maps (Eq. 3).

    Two self-attention blocks, one cross-attention block, a 1x1 and three 3x3 convolutions and a
    linear layer (paper, Appendix A). Of the second block only the image token is read, so only
    it is computed; keys and scene maps do not depend on the query and are computed once.

    Args:
        in_channels: width of the queries' dense features.
        scene_channels: width of the scene's; None: as the queries'.
        dims: width D.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers over D.
    """

    def __init__(
        self,
        in_channels: int,
        scene_channels: int | None = None,
        dims: int = 512,
        num_heads: int = 16,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        scene_channels = in_channels if scene_channels is None else scene_channels
        self.query_embed = nn.Linear(in_channels, dims)
        self.key_embed = nn.Linear(scene_channels, dims)
        self.key_norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.self_blocks = nn.ModuleList(
            SelfBlock(dims, num_heads, mlp_ratio) for _ in range(2)
        )
        self.cross_block = CrossBlock(dims, num_heads, mlp_ratio)
        self.query_norm = nn.LayerNorm(dims, eps=NORM_EPS)
        self.kernel = nn.Linear(dims, dims)
        self.mask_head = nn.Sequential(
            nn.Conv2d(scene_channels, dims, 1),
            nn.GELU(),
            nn.Conv2d(dims, dims, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(dims, dims, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(dims, dims, 3, padding=1),
            nn.GELU(),
        )
        self.apply(init_linear)

    def forward(self, queries: list[EncoderOutput], scene: EncoderOutput) -> Tensor:
        """Score every cell of the scene for every query.

        Args:
            queries: Q dense features of (B, T, in_channels) tokens each.
            scene: dense features of the scene, (B, L, scene_channels) patch tokens.

        Returns:
            (B, Q, h, w) logits.
        """
        cells = scene.require_patch_tokens()
        keys = norm_tokens(self.key_embed(cells), affine(self.key_norm), self.key_norm.eps)
        x = torch.cat([self._summarize(query) for query in queries], dim=1)  # (B, Q, D)
        x, norm = self.cross_block(x, keys), self.query_norm
        kernels = self.run(normed_linear, x, affine(norm), norm.eps, affine(self.kernel))
        # (B, L, C) -> (B, C, h, w) -> (B, D, L)
        maps = self.mask_head(cells.transpose(1, 2).unflatten(-1, scene.grid)).flatten(2)
        return (kernels @ maps).unflatten(-1, scene.grid)

    def _summarize(self, query: EncoderOutput) -> Tensor:
        """(B, T, C) tokens of one query -> (B, 1, D)."""
        image_token, patches = query.require_image_token(), query.require_patch_tokens()
        x = self.query_embed(torch.cat([image_token[:, None], patches], dim=1))
        return self.self_blocks[1](self.self_blocks[0](x), queries=1)
