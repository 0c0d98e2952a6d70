"""Spreading of features over the sphere."""

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.precision import full_precision, widen

EPSILON = 1e-8


def koleo_loss(features: Tensor) -> Tensor:
    """Mean negative log distance of each feature to its nearest neighbor on the unit sphere.

    The Kozachenko-Leonenko estimate of the features' differential entropy, up to constants
    (Sablayrolles et al., Spreading vectors for similarity search, 2019).

    Args:
        features: (B, D), B at least 2.

    Returns:
        Scalar.
    """
    x = F.normalize(widen(features), dim=-1)
    # Half precision cannot tell the neighbors of nearly collapsed features apart.
    with torch.no_grad(), full_precision(x.device):
        cosines = (x @ x.T).fill_diagonal_(-2)
    nearest = x[cosines.argmax(dim=1)]
    return -((x - nearest).norm(dim=-1) + EPSILON).log().mean()
