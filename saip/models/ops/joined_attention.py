"""Attention within images of different lengths by one call, on a GPU in half precision.

Legend: N tokens of all images, n images, D width, H heads, d = D / H.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    varlen_attn = None  # type: ignore[assignment]

OLDEST = (8, 0)
"""Compute capability from which on flash attention runs."""

WIDEST = 256
"""Channels of a head that it takes."""


def can_join(packed: Tensor, heads: int) -> bool:
    """Whether the kernel takes these (N, 3 * D) queries, keys and values."""
    return (
        varlen_attn is not None
        and packed.is_cuda
        and packed.dtype in (torch.bfloat16, torch.float16)
        and (width := packed.shape[1] // (3 * heads)) % 8 == 0
        and width <= WIDEST
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(packed.device) >= OLDEST
    )


def attend_joined(packed: Tensor, starts: Tensor, longest: int, heads: int) -> Tensor:
    """Self-attention within each image.

    Args:
        packed: (N, 3 * D) queries, keys and values of all tokens, image after image.
        starts: (n + 1,) int32, the first token of each image, and N.
        longest: tokens of the longest image, at least.
        heads: number of heads.

    Returns:
        (N, D).
    """
    query, key, value = packed.unflatten(1, (3, heads, -1)).unbind(1)
    read: Any = varlen_attn(query, key, value, starts, starts, longest, longest)
    return read.flatten(1)
