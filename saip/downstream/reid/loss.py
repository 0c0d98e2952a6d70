"""Loss between images: persons apart, images of one person together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.precision import full_precision


def batch_hard_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Soft-margin triplet loss on the hardest pairs of a batch, shape ().

    For every image the farthest one of its identity and the nearest one of another, both by
    Euclidean distance d: mean of log(1 + exp(d_positive - d_negative)) (Hermans et al., In
    Defense of the Triplet Loss, 2017). A batch of one identity has no negative and gives 0.

    Args:
        features: (N, D), not normalized.
        labels: (N,) identities.
    """
    with full_precision(features.device):
        rows = features.float()
        # Not through a matrix product, in which small distances drown.
        mode = 'donot_use_mm_for_euclid_dist'
        distance = torch.cdist(rows, rows, compute_mode=mode)
        same = labels[:, None] == labels
        positive = distance.masked_fill(~same, -torch.inf).amax(1)
        negative = distance.masked_fill(same, torch.inf).amin(1)
        return F.softplus(positive - negative).mean()
