"""Scaled-dot-product attention, by the fastest of torch's kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Up to here plain products beat the CPU's fused kernel in bfloat16, whose backward pass is slow
# for few tokens: 3.5 against 9.0 ms at 33 tokens, 30 against 50 at 129, 431 against 256 at 202.
SHORT = 160


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (B, H, T, d) queries and (B, H, S, d) keys and values."""
    short_on_cpu = (
        query.device.type == 'cpu' and query.dtype == torch.bfloat16 and key.shape[2] <= SHORT
    )
    if not short_on_cpu:
        return F.scaled_dot_product_attention(query, key, value)
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(query, key, value)
