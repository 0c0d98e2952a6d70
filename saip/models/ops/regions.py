"""What lies between the attentions of transformer blocks, as functions that can be compiled.

They take tensors and not modules, so that the blocks of one width share one compiled graph.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from saip.models.ops.activated_linear import activated_linear

Affine = tuple[Tensor, Tensor]
"""Weight and bias of a linear layer or of a norm."""

Pair = tuple[Tensor | None, Tensor | None]


def affine(layer: nn.Linear | nn.LayerNorm) -> Affine:
    """Weight and bias."""
    return layer.weight, layer.bias


def split_affine(packed: Affine, rows: int) -> tuple[Affine, Affine]:
    """The first rows of a linear layer, and the others: gradients are joined by one operator."""
    weights, biases = (x.split([rows, len(x) - rows]) for x in packed)
    return (weights[0], biases[0]), (weights[1], biases[1])


def normed_linear(x: Tensor, norm: Affine, eps: float, linear: Affine) -> Tensor:
    """A linear layer of normed tokens, (..., D) -> (..., C)."""
    return F.linear(F.layer_norm(x, x.shape[-1:], *norm, eps), *linear)


def add_linear(x: Tensor, branch: Tensor, linear: Affine) -> Tensor:
    """Tokens (..., D) and a linear layer of (..., C)."""
    return x + F.linear(branch, *linear)


def close_block(
    x: Tensor,
    attended: Tensor,
    proj: Affine,
    norm: Affine,
    eps: float,
    first: Affine,
    second: Affine,
    gains: Pair = (None, None),
    kept: Pair = (None, None),
) -> Tensor:
    """Both residual branches of a block after its attention, (..., D) -> (..., D).

    Args:
        x: tokens before the block.
        attended: what its heads read, joined.
        proj: output projection of the attention.
        norm: before the feed-forward layer.
        eps: of the norm.
        first: of the feed-forward layer's linear layers, followed by a GELU.
        second: the other one.
        gains: (D,) factors of the branches; None for none.
        kept: (..., 1) factors of stochastic depth of the branches; None for none.
    """
    x = x + scaled(F.linear(attended, *proj), gains[0], kept[0])
    hidden = normed_linear(x, norm, eps, first)
    return x + scaled(activated_linear(hidden, *second), gains[1], kept[1])


def scaled(branch: Tensor, gain: Tensor | None, kept: Tensor | None) -> Tensor:
    """A residual branch times its gain and its factors of stochastic depth, where there are any."""
    if gain is not None:
        branch = branch * gain
    return branch if kept is None else branch * kept
