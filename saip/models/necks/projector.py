"""CSM decoder: image tokens to prototype scores."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.compiling import Compilable
from saip.models.ops.blocks import bottleneck_mlp, init_linear
from saip.models.ops.precision import full_precision
from saip.models.ops.regions import Affine, affine
from saip.registry import MODELS


@MODELS.register_module()
class DINOProjector(Compilable, BaseModule):
    """MLP, l2 normalization, cosine with K prototypes (paper, Appendix A; DINO's head).

    The prototypes are a weight-normalized linear layer whose gains are fixed at 1, which is the
    cosine with normalized rows.

    Args:
        in_channels: width of the image token.
        hidden_channels: width of the two hidden layers.
        bottleneck_channels: width before the prototypes.
        out_channels: number K of prototypes.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        out_channels: int = 65536,
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.mlp = bottleneck_mlp(in_channels, hidden_channels, bottleneck_channels)
        self.prototypes = nn.Parameter(torch.empty(out_channels, bottleneck_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform MLP; prototypes as torch initializes a linear layer."""
        self.mlp.apply(init_linear)
        bound = self.prototypes.shape[1] ** -0.5
        nn.init.uniform_(self.prototypes, -bound, bound)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, in_channels) image tokens -> (n, K) scores in [-1, 1]."""
        linear: list[Any] = [self.mlp[place] for place in (0, 2, 4)]
        return self.run(score, tokens, *map(affine, linear), self.prototypes)


def score(
    tokens: Tensor, first: Affine, second: Affine, third: Affine, prototypes: Tensor
) -> Tensor:
    """Cosines of (n, C) tokens, after three linear layers, with (K, D) prototypes: (n, K)."""
    hidden = F.gelu(F.linear(F.gelu(F.linear(tokens, *first)), *second))
    x = F.normalize(F.linear(hidden, *third).to(prototypes.dtype), dim=-1)
    # A cosine in bfloat16 is off by 0.002, which the temperature of the target turns into 0.05.
    with full_precision(x.device):
        return F.linear(x, unit_rows(prototypes))


def unit_rows(prototypes: Tensor) -> Tensor:
    """Rows of a (K, D) matrix divided by their lengths, none of which is zero.

    This is weight normalization with gains of 1, for which torch has a kernel that passes the
    matrix once per direction; the gradient of ``F.normalize`` passes it seven times, which is a
    sixth of a step of DINO with 8 images and 65,536 prototypes on a CPU.
    """
    return torch._weight_norm(prototypes, torch.ones_like(prototypes[:, :1]), 0)
