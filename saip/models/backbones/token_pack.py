"""Tokens of several requests in one tensor.

Legend: b images and T tokens of one request, N tokens of all, D width.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from saip.models.ops.controller import Modulation
from saip.models.ops.layer_norm import norm_tokens
from saip.models.ops.precision import is_half, widen
from saip.models.ops.regions import affine
from saip.views.upload import upload

Modulations = list[Modulation] | None
"""Gain and shift of a block's norms by a controller, per request; None where it does not act."""


class TokenPack:
    """Tokens of several requests in one tensor, so that a linear layer is one call for all.

    Attention alone needs the requests apart. Measured on the release's views this takes a fifth
    of the calls of one pass per view.
    """

    def __init__(self, parts: list[Tensor]) -> None:
        self.shapes = [(part.shape[0], part.shape[1]) for part in parts]
        self.rows = torch.cat([part.flatten(0, 1) for part in parts])

    def split(self, rows: Tensor) -> list[Tensor]:
        """(N, C) rows in this order -> one (b, T, C) tensor per request."""
        parts = rows.split([b * t for b, t in self.shapes])
        return [part.view(b, t, -1) for part, (b, t) in zip(parts, self.shapes, strict=True)]

    @cached_property
    def starts(self) -> Tensor:
        """The first token of each image, and N: (images + 1,) int32."""
        lengths = np.repeat(*np.array([(t, b) for b, t in self.shapes]).T)
        (starts,) = upload([np.cumsum([0, *lengths])], self.rows.device)
        return starts.int()

    def kept(self, probability: float) -> Tensor:
        """Factors (N, 1) that drop a residual branch of whole images and keep its mean."""
        keep, exact = 1 - probability, widen(self.rows[:0])
        masks = [
            exact.new_empty(b, 1).bernoulli_(keep).div_(keep).repeat_interleave(t, 0)
            for b, t in self.shapes
        ]
        return torch.cat(masks)

    def spread(self, values: list[Tensor]) -> Tensor:
        """A row per image, (b, C) per request -> one per token, (N, C)."""
        pairs = zip(values, self.shapes, strict=True)
        return torch.cat([x.repeat_interleave(t, 0) for x, (_, t) in pairs])

    def normed(self, norm: nn.LayerNorm, rows: Tensor, modulation: Modulations) -> Tensor:
        """The output of a norm on (N, D) rows, changed as the images of each request are told."""
        # By the layer itself where it can be, whose name an exported graph shows.
        out = norm_tokens(rows, affine(norm), norm.eps) if is_half(rows) else norm(rows)
        if modulation is None:
            return out
        gain = self.spread([each.gain for each in modulation])
        shift = self.spread([each.shift for each in modulation])
        return (gain * out + shift).to(out.dtype)
