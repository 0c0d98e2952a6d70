"""Attention over few tokens on a CPU, as plain matrix products.

They beat torch's fused kernel for CPUs, whose backward pass is slow there, and torch's own
composition of products, which copies and rescales more than it has to.

Legend: b images, H heads, T queries and S keys of an image, d channels of a head, D = H * d.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from saip.models.ops.precision import full_precision

Shapes = list[tuple[int, int]]
"""Images and tokens per image of each request."""


def _attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d)) v of (b * H, ., d) tensors, and the softmax."""
    scores = torch.baddbmm(
        query.new_empty(()), query, key.mT, beta=0, alpha=query.shape[-1] ** -0.5
    )
    shares = scores.softmax(-1)
    return torch.bmm(shares, value), shares


def _gradients(
    grad: Tensor, shares: Tensor, operands: list[Tensor], into: list[Tensor]
) -> None:
    """Gradients of query, key and value; all (b * H, ., d)."""
    query, key, value = operands
    torch.bmm(shares.mT, grad, out=into[2])
    of_shares = torch.bmm(grad, value.mT)
    of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)
    scale = query.shape[-1] ** -0.5
    torch.baddbmm(into[0], of_scores, key, beta=0, alpha=scale, out=into[0])
    torch.baddbmm(into[1], of_scores.mT, query, beta=0, alpha=scale, out=into[1])


class ShortAttention(torch.autograd.Function):
    """Attention of (b, H, T, d) queries to (b, H, S, d) keys and values: (b, H, T, d)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """See the class."""
        flat = [x.contiguous().flatten(0, 1) for x in (query, key, value)]
        with full_precision(query.device):
            out, shares = _attend(*flat)
        ctx.save_for_backward(shares, *flat)
        return out.view(query.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Gradients of query, key and value."""
        shares, *operands = ctx.saved_tensors
        into = [torch.empty_like(x) for x in operands]
        _gradients(grad.contiguous().flatten(0, 1), shares, operands, into)
        return tuple(x.view(len(grad), -1, *x.shape[1:]) for x in into)


class PackedShortAttention(torch.autograd.Function):
    """Self-attention within each image of several requests, whose tokens stand in one tensor.

    Takes (N, 3 * D) queries, keys and values of all tokens, gives (N, D).
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, shapes: Shapes, heads: int) -> Tensor:
        """See the class; every request is copied once, and read into its place of the result."""
        out = packed.new_empty(len(packed), packed.shape[1] // 3)
        kept = []
        with full_precision(packed.device):
            targets = _split(out, shapes, heads, 1)
            for rows, target in zip(_split(packed, shapes, heads, 3), targets, strict=True):
                operands = rows.contiguous().flatten(1, 2)
                read, shares = _attend(*operands)
                target.copy_(read.view(target.shape))
                kept += [shares, operands]
        ctx.save_for_backward(*kept)
        ctx.shapes, ctx.heads = shapes, heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the packed tokens."""
        kept = ctx.saved_tensors
        packed = grad.new_empty(len(grad), 3 * grad.shape[1])
        wanted = _split(packed, ctx.shapes, ctx.heads, 3)
        given = _split(grad, ctx.shapes, ctx.heads, 1)
        pairs = zip(kept[::2], kept[1::2], strict=True)
        for (shares, operands), rows, target in zip(pairs, given, wanted, strict=True):
            into = torch.empty_like(operands)
            _gradients(rows.contiguous().flatten(0, 2), shares, list(operands), list(into))
            target.copy_(into.view(target.shape))
        return packed, None, None


def _split(packed: Tensor, shapes: Shapes, heads: int, parts: int) -> list[Tensor]:
    """Views (parts, b, H, T, d) of (N, parts * D) tokens, per request."""
    rows = packed.split([b * t for b, t in shapes])
    return [
        x.view(b, t, parts, heads, -1).permute(2, 0, 3, 1, 4)
        for x, (b, t) in zip(rows, shapes, strict=True)
    ]
