"""What lies between the attentions of transformer blocks, as functions that can be compiled.

They take tensors and not modules, so that the blocks of one width share one compiled graph.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from saip.models.ops.activated_linear import activated_linear
from saip.models.ops.layer_norm import Affine, norm_tokens

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
    return F.linear(norm_tokens(x, norm, eps), *linear)


def add_linear(x: Tensor, branch: Tensor, linear: Affine) -> Tensor:
    """Tokens (..., D) and a linear layer of (..., C)."""
    return add_branch(x, F.linear(branch, *linear))


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
    x = add_branch(x, F.linear(attended, *proj), gains[0], kept[0])
    hidden = normed_linear(x, norm, eps, first)
    return add_branch(x, activated_linear(hidden, *second), gains[1], kept[1])


def add_branch(
    x: Tensor, branch: Tensor, gain: Tensor | None = None, kept: Tensor | None = None
) -> Tensor:
    """Tokens, in their type, and a residual branch.

    Args:
        x: (..., D).
        branch: (..., D).
        gain: (D,) factors of the branch; None for none.
        kept: (..., 1) factors of stochastic depth; None for none.
    """
    if gain is not None:
        branch = branch * gain
    if kept is not None:
        branch = branch * kept
    return (x + branch).to(x.dtype)
