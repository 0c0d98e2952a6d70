"""Layer norms of tokens in half precision."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.precision import full_precision, is_half, widen

Affine = tuple[Tensor, Tensor]
"""Weight and bias of a linear layer or of a norm."""

WIDENING = ('cpu',)
"""Devices on which the norm itself is computed in float32.

torch's kernel for a CPU adds up the gradients of gain and bias in the type of the tokens: of 16,384
tokens in bfloat16 the gradient of the bias then misses by more than half of its size.
"""


def widens(x: Tensor) -> bool:
    """Whether norms are computed in float32 where a tensor is."""
    return x.device.type in WIDENING


def norm_tokens(x: Tensor, norm: Affine, eps: float) -> Tensor:
    """Layer norm that gives tokens in the type in which they come, under autocast as well.

    Args:
        x: (..., D).
        norm: gain and bias, (D,) each.
        eps: added to the variance.
    """
    shape, (gain, bias) = x.shape[-1:], norm
    if not is_half(x):
        return F.layer_norm(x, shape, widen(gain), widen(bias), eps)
    with full_precision(x.device):
        if widens(x):
            return F.layer_norm(x.float(), shape, widen(gain), widen(bias), eps).to(x.dtype)
        return F.layer_norm(x, shape, gain.to(x.dtype), bias.to(x.dtype), eps)


def _in_float32(
    x: Tensor,
    shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """``torch.layer_norm`` under autocast on a CPU."""
    gain = None if weight is None else widen(weight)
    shift = None if bias is None else widen(bias)
    with torch.autocast('cpu', enabled=False):
        return torch.layer_norm(widen(x), shape, gain, shift, eps, cudnn_enable)


# Autocast on a GPU computes layer norms in float32, autocast on a CPU in the type of the input, by
# the kernel above. This makes both the same, also for the layers of other packages.
_KERNELS = torch.library.Library('aten', 'IMPL', 'AutocastCPU')
_KERNELS.impl('layer_norm', _in_float32)
