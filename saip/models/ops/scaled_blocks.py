"""Transformer blocks with gains and stochastic depth on their branches (CAE, arXiv:2202.03026)."""

from __future__ import annotations

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from saip.models.ops.attention import read
from saip.models.ops.blocks import NORM_EPS, Mlp, SelfAttention


class Gain(nn.Module):
    """A learned gain per channel (LayerScale).

    Args:
        dims: number of channels.
        initial: the gain at the beginning; 0 for none, so that nothing is learned.
    """

    def __init__(self, dims: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.weight = nn.Parameter(torch.empty(dims)) if initial else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew."""
        if self.weight is not None:
            nn.init.constant_(self.weight, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x if self.weight is None else x * self.weight


class ScaledSelfBlock(nn.Module):
    """Self-attention, then a feed-forward layer, both residual with a gain.

    Args:
        dims: width D.
        num_heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layer over D.
        layer_scale: initial gain of the branches; 0 for none.
        drop_path: stochastic depth.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.attn = SelfAttention(dims, num_heads)
        self.gain1 = Gain(dims, layer_scale)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)
        self.gain2 = Gain(dims, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.drop_path(self.gain1(self.attn(self.norm1(x))))
        return x + self.drop_path(self.gain2(self.mlp(self.norm2(x))))


class RegressorBlock(nn.Module):
    """A block of CAE's latent contextual regressor.

    Queries attend to visible tokens and to themselves, with positions on queries and keys and
    none on values. The second residual begins at the normed tokens, as in the release: with x the
    tokens after attention, the block returns LN(x) + g MLP(LN(x)).

    Args: as of :class:`ScaledSelfBlock`.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_query = nn.LayerNorm(dims, eps=NORM_EPS)
        self.norm_key = nn.LayerNorm(dims, eps=NORM_EPS)
        self.norm_value = nn.LayerNorm(dims, eps=NORM_EPS)
        # A bias of the keys would add the same to all scores of a query: softmax ignores it.
        self.query = nn.Linear(dims, dims)
        self.key = nn.Linear(dims, dims, bias=False)
        self.value = nn.Linear(dims, dims)
        self.proj = nn.Linear(dims, dims)
        self.gain1 = Gain(dims, layer_scale)
        self.norm2 = nn.LayerNorm(dims, eps=NORM_EPS)
        self.mlp = Mlp(dims, mlp_ratio)
        self.gain2 = Gain(dims, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, hidden: Tensor, visible: Tensor, at_hidden: Tensor, at_visible: Tensor
    ) -> Tensor:
        """Advance the tokens of hidden patches.

        Args:
            hidden: (B, S, D) tokens of the hidden patches.
            visible: (B, K, D) tokens of the visible ones, which stay.
            at_hidden: (B, S, D) positions of the hidden patches.
            at_visible: (B, K, D) positions of the visible ones.
        """
        memory = torch.cat([visible, hidden.to(visible.dtype)], dim=1)
        places = torch.cat([at_visible, at_hidden], dim=1)
        query = self.query(self.norm_query(hidden + at_hidden))
        key = self.key(self.norm_key(memory + places))
        value = self.value(self.norm_value(memory))
        attended = self.proj(read(self.num_heads, query, key, value))
        x = self.norm2(hidden + self.drop_path(self.gain1(attended)))
        return x + self.drop_path(self.gain2(self.mlp(x)))


def rates(drop_path: float, depth: int) -> list[float]:
    """Stochastic depth of each of ``depth`` blocks, growing linearly from 0."""
    return [drop_path * i / max(1, depth - 1) for i in range(depth)]
