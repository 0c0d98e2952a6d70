"""Contrast of two views of each image with those of all other images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.precision import full_precision, widen


def info_nce(queries: Tensor, keys: Tensor, first: int, temperature: float) -> Tensor:
    """Cross-entropy of finding each query's own key among all (van den Oord et al., 2018).

    With cosines c this is the mean over the queries i of
    ``-log(exp(c_i,i' / t) / sum_j exp(c_ij / t))``, where i' = ``first`` + i.

    Args:
        queries: (B, D).
        keys: (N, D), N at least B.
        first: position of the first query's own key; those of the others follow.
        temperature: t.

    Returns:
        Scalar.
    """
    # Autocast would compute the products in half precision, whatever the type of the factors.
    with full_precision(queries.device):
        cosines = F.normalize(widen(queries), dim=-1) @ F.normalize(widen(keys), dim=-1).T
        own = torch.arange(first, first + len(queries), device=queries.device)
        return F.cross_entropy(cosines / temperature, own)
