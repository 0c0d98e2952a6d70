"""Matching of images and captions over all processes (Jiang and Ye, IRRA, 2023, section 3.3).

Legend: B pairs of one process, N of all processes together, E width of the common space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_world_size
from torch import Tensor
from torch.distributed.nn.functional import all_gather as differentiable_all_gather

from saip.models.ops.precision import full_precision, widen

EPSILON = 1e-8
"""What is added to the labels' distribution before its logarithm."""


def similarity_distribution_matching(
    images: Tensor, texts: Tensor, identities: Tensor, temperature: float = 0.02
) -> Tensor:
    """SDM: both distributions over matches follow who is who, shape ().

    With cosine similarities s, p_ij = softmax_j(s_ij / temperature) and q_ij the share of row i
    that equal identities have, the loss of a row is KL(p || q) = Σ_j p_ij (log p_ij -
    log(q_ij + 1e-8)); the mean over images against all texts plus the mean over texts against all
    images.

    A process sums over its own rows, against the columns of all processes, and the features
    are gathered with their gradients. The mean over processes that distributed training takes of
    the gradients is then the gradient of one process with the whole batch.

    Args:
        images: (B, E).
        texts: (B, E).
        identities: (B,) int64.
        temperature: τ.
    """
    with full_precision(images.device):
        images, texts = (F.normalize(widen(x), dim=1) for x in (images, texts))
        every = torch.cat(all_gather(identities))
        same = (identities[:, None] == every).to(images.dtype)
        log_target = (same / same.sum(1, keepdim=True) + EPSILON).log()
        return sum(
            (
                _divergence(rows @ gathered(columns).T / temperature, log_target)
                for rows, columns in ((images, texts), (texts, images))
            ),
            start=torch.zeros((), device=images.device),
        )


def gathered(features: Tensor) -> Tensor:
    """(B, E) of this process -> (N, E) of all, with gradients."""
    if get_world_size() == 1:
        return features
    return torch.cat(differentiable_all_gather(features))


def _divergence(logits: Tensor, log_target: Tensor) -> Tensor:
    """Mean over rows of KL(softmax(logits) || target)."""
    log_share = logits.log_softmax(1)
    return (log_share.exp() * (log_share - log_target)).sum(1).mean()
