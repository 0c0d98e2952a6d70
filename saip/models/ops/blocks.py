"""Transformer blocks of the decoders: pre-norm, exact GELU, LayerNorm with eps 1e-6."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from saip.models.ops.attention import attend

NORM_EPS = 1e-6


class SelfAttention(nn.Module):
    """Multi-head self-attention with a fused qkv projection."""

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.dims = dims
        self.num_heads = num_heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """Attend from the first ``queries`` tokens (None: all) of (B, T, D) to all of them."""
        if queries is None:
            q, k, v = (self._heads(part) for part in self.qkv(x).chunk(3, -1))
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            q = self._heads(F.linear(x[:, :queries], weight[: self.dims], bias[: self.dims]))
            keys_values = F.linear(x, weight[self.dims :], bias[self.dims :])
            k, v = (self._heads(part) for part in keys_values.chunk(2, -1))
        out = attend(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dims: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dims, int(dims * ratio))
        self.fc2 = nn.Linear(int(dims * ratio), dims)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.fc2(F.gelu(self.fc1(x)))


def bottleneck_mlp(in_channels: int, hidden_channels: int, out_channels: int) -> nn.Sequential:
    """Three linear layers with a GELU between them, those of the projectors of CSM."""
    return nn.Sequential(
        nn.Linear(in_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, out_channels),
    )


class SelfBlock(nn.Module):
    """Self-attention, then a feed-forward layer, both residual."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = SelfAttention(dims, num_heads)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """(B, T, D) -> the first ``queries`` tokens (None: all) after the block."""
        x = x[:, :queries] + self.attn(self.norm1(x), queries)
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    """Cross-attention to a memory, then a feed-forward layer, both residual."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = nn.MultiheadAttention(dims, num_heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries x (B, T, D) read memory (B, M, D), which is not normed again."""
        x = x + self.attn(self.norm1(x), memory, memory, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ConditionedBlock(nn.Module):
    """Self-attention, cross-attention to a memory, feed-forward (paper, Section III-A)."""

    def __init__(self, dims: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = SelfAttention(dims, num_heads)
        self.cross = CrossBlock(dims, num_heads, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries x (B, T, D) read memory (B, M, D)."""
        return self.cross(x + self.attn(self.norm1(x)), memory)


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
