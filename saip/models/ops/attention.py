"""Scaled-dot-product attention, by the fastest of torch's kernels or our own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.short_attention import PackedShortAttention, Shapes, ShortAttention

Biases = list[Tensor | None]
"""What is added to the scores of attention, (b or 1, H, T, T) per request; None for nothing."""

# Up to here plain products beat the CPU's fused kernel, forth and back. In bfloat16: 5 against 14
# ms at 4 images of 197 tokens, 8 against 21 at 289. In float32: 16 against 20 ms at 16 images of
# 129 tokens with 48 of 33, but 14 against 13 at 8 of 197; forth alone the fused kernel is faster.
SHORT = {torch.bfloat16: 320, torch.float32: 160}


def split_heads(x: Tensor, number: int) -> Tensor:
    """(B, T, D) -> (B, H, T, d)."""
    return x.unflatten(-1, (number, -1)).transpose(1, 2)


def read(num_heads: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of (B, T, D) queries to (B, S, D) keys and values, the heads joined: (B, T, D)."""
    out = attend(*(split_heads(x, num_heads) for x in (query, key, value)))
    return out.transpose(1, 2).flatten(2)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v.

    Args:
        query: (B, H, T, d).
        key: (B, H, S, d).
        value: (B, H, S, d).
        bias: (B or 1, H, T, S) added to the scores; None adds nothing.
    """
    if bias is not None:
        return F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
    if _is_short(query, key.shape[2]):
        return ShortAttention.apply(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def attend_within(packed: Tensor, shapes: Shapes, heads: int, biases: Biases) -> Tensor:
    """Self-attention within each image of several requests, whose tokens stand in one tensor.

    Args:
        packed: (N, 3 * D) queries, keys and values of all tokens.
        shapes: images and tokens per image of each request.
        heads: number of heads.
        biases: one per request.

    Returns:
        (N, D).
    """
    longest = max(tokens for _, tokens in shapes)
    if _is_short(packed, longest) and all(bias is None for bias in biases):
        return PackedShortAttention.apply(packed, shapes, heads)
    attended = []
    parts = packed.split([b * t for b, t in shapes])
    for rows, (b, t), bias in zip(parts, shapes, biases, strict=True):
        query, key, value = (split_heads(x, heads) for x in rows.view(b, t, -1).chunk(3, -1))
        attended.append(
            attend(query, key, value, bias).transpose(1, 2).flatten(0, 1).flatten(1)
        )
    return torch.cat(attended)


def _is_short(x: Tensor, tokens: int) -> bool:
    pays = x.dtype != torch.float32 or (x.requires_grad and torch.is_grad_enabled())
    return x.device.type == 'cpu' and pays and tokens <= SHORT.get(x.dtype, 0)
