"""A linear layer of a GELU that does not keep what the GELU gives.

Of a block's activations the widest is kept twice otherwise, before the GELU and after it. The
backward pass computes the GELU once more, which costs a GPU little beside the products.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

KEEPING = ('cpu',)
"""Devices that keep it: a CPU has the memory, and computing again takes 3 percent of a step."""


class _ActivatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        return (
            torch.ops.aten.gelu_backward(grad @ weight, x) if of_x else None,
            rows.mT @ F.gelu(x).flatten(0, -2) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


def activated_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``F.linear(F.gelu(x), weight, bias)``, (..., C) -> (..., D)."""
    keeps = x.device.type in KEEPING or not torch.is_grad_enabled()
    # The compiler computes again what pays by itself; autocast may cast the weight.
    if keeps or torch.compiler.is_compiling() or x.dtype != weight.dtype:
        return F.linear(F.gelu(x), weight, bias)
    return _ActivatedLinear.apply(x, weight, bias)
