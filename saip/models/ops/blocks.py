"""Transformer blocks of the decoders: pre-norm, exact GELU, LayerNorm with eps 1e-6."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from saip.compiling import Compilable
from saip.models.ops.attention import read
from saip.models.ops.layer_norm import norm_tokens
from saip.models.ops.regions import (
    Affine,
    add_linear,
    affine,
    close_block,
    normed_linear,
    split_affine,
)

NORM_EPS = 1e-6


class SelfAttention(Compilable, nn.Module):
    """Multi-head self-attention with a fused qkv projection."""

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.dims = dims
        self.num_heads = num_heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.proj(read(self.num_heads, *self.qkv(x).chunk(3, -1)))

    def read(self, x: Tensor, norm: nn.LayerNorm, queries: int | None = None) -> Tensor:
        """What the heads read, before the projection.

        Args:
            x: (B, T, D), not normed.
            norm: of the tokens.
            queries: how many of the tokens ask, the first ones; None: all.
        """
        if queries is None:
            packed = self.run(normed_linear, x, affine(norm), norm.eps, affine(self.qkv))
            return read(self.num_heads, *packed.chunk(3, -1))
        x = norm_tokens(x, affine(norm), norm.eps)
        for_queries, for_others = split_affine(affine(self.qkv), self.dims)
        query = F.linear(x[:, :queries], *for_queries)
        return read(self.num_heads, query, *F.linear(x, *for_others).chunk(2, -1))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dims: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dims, int(dims * ratio))
        self.fc2 = nn.Linear(int(dims * ratio), dims)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))

    def affine(self) -> tuple[Affine, Affine]:
        """Weights and biases of both layers."""
        return affine(self.fc1), affine(self.fc2)


def bottleneck_mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """Three linear layers with a GELU between them, those of the projectors of CSM."""
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, out_channels),
    )


class SelfBlock(Compilable, nn.Module):
    """Self-attention, then a feed-forward layer, both residual."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = SelfAttention(dims, num_heads)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, T, D) -> the first ``queries`` tokens (None: all) after the block."""
        attended = self.attn.read(x, self.norm1, queries)
        feed_forward = affine(self.norm2), self.norm2.eps, *self.mlp.affine()
        return self.run(
            close_block, x[:, :queries], attended, affine(self.attn.proj), *feed_forward
        )


class CrossBlock(Compilable, nn.Module):
    """Cross-attention to a memory, then a feed-forward layer, both residual."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = nn.MultiheadAttention(dims, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries x (B, T, D) read memory (B, M, D), which is not normed again."""
        # Not by the module's own forward, which takes torch's fused kernel for any length.
        packed = self.attn.in_proj_weight, self.attn.in_proj_bias
        asking, others = split_affine(packed, self.attn.embed_dim)
        query = self.run(normed_linear, x, affine(self.norm1), self.norm1.eps, asking)
        key, value = F.linear(memory, *others).chunk(2, -1)
        attended = read(self.attn.num_heads, query, key, value)
        feed_forward = affine(self.norm2), self.norm2.eps, *self.mlp.affine()
        return self.run(close_block, x, attended, affine(self.attn.out_proj), *feed_forward)


class ConditionedBlock(Compilable, nn.Module):
    """Self-attention, cross-attention to a memory, feed-forward (paper, Section III-A)."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = SelfAttention(dims, num_heads)
        self.cross = CrossBlock(dims, num_heads, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries x (B, T, D) read memory (B, M, D)."""
        attended = self.attn.read(x, self.norm1)
        return self.cross(self.run(add_linear, x, attended, affine(self.attn.proj)), memory)


def is_gain(value: object) -> bool:
    """Whether a value can be the initial gain of residual branches: a number from 0 on."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def init_linear(module: nn.Module) -> None:
    """Xavier-uniform linear layers and attention projections, zero biases (Appendix A)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(module.in_proj_weight)
        nn.init.zeros_(module.in_proj_bias)
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
