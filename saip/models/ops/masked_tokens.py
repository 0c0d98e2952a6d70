"""Tokens of a masked image, back on its whole grid."""

from __future__ import annotations

import torch
from torch import Tensor

from saip.structures import PatchMask


def fill_gaps(visible: Tensor, mask_token: Tensor, mask: PatchMask) -> Tensor:
    """Put visible tokens back into raster order, with a mask token in every gap.

    Args:
        visible: (B, K, D) in the order of ``mask.keep``.
        mask_token: (1, 1, D).
        mask: which patches are hidden, of L.

    Returns:
        (B, L, D).
    """
    b, k, dims = visible.shape
    gaps = mask_token.to(visible.dtype).expand(b, mask.restore.shape[1] - k, dims)
    return take_patches(torch.cat([visible, gaps], dim=1), mask.restore)


def take_patches(tokens: Tensor, indices: Tensor) -> Tensor:
    """Take (B, S) tokens of each of (B, L, D) sequences: (B, S, D)."""
    return tokens.gather(1, indices[..., None].expand(-1, -1, tokens.shape[-1]))
