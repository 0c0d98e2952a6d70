"""A fixed projection of features to another width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.models.ops.blocks import NORM_EPS
from saip.registry import MODELS


@MODELS.register_module()
class RandomProjection(BaseModule):
    """Standardizes features and projects them on random orthonormal directions.

    Angles and distances stay as they are up to the noise of a random projection (Johnson and
    Lindenstrauss, 1984). Nothing trains it: a layer before a learning target that could learn
    would make the target constant. The directions are a buffer, so checkpoints hold them.

    Args:
        in_channels: width of the features.
        out_channels: width that is wanted.
    """

    directions: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer('directions', torch.empty(out_channels, in_channels))
        nn.init.orthogonal_(self.directions)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, in_channels) -> (n, out_channels)."""
        normed = F.layer_norm(tokens, tokens.shape[-1:], eps=NORM_EPS)
        return F.linear(normed, self.directions)
