"""Cross-entropy between prototype distributions of different views."""

from __future__ import annotations

import torch
from torch import Tensor

from saip.models.ops.precision import full_precision


def self_distillation(
    predictions: Tensor, targets: Tensor, same_view: dict[int, int], num_views: int
) -> Tensor:
    """Mean cross-entropy over all pairs of a target view and another predicting view.

    With target probabilities q_t and scores s_v this is the mean over the pairs of
    ``-sum_k q_tk log softmax(s_v)_k``, which is ``logsumexp(s_v) - <q_t, s_v>``, since every q
    sums to 1: one pass over the K prototypes per view and a product for all pairs of an image,
    instead of one log-softmax per pair.

    Args:
        predictions: (V * B, K) scores over the temperature, view-major.
        targets: (T * B, K) probabilities, view-major.
        same_view: prediction index -> target index of the same view, which is left out.
        num_views: V.

    Returns:
        Scalar.
    """
    batch = len(predictions) // num_views
    scores = predictions.unflatten(0, (num_views, batch)).transpose(0, 1)  # (B, V, K)
    q = targets.unflatten(0, (-1, batch)).transpose(0, 1)  # (B, T, K)
    with full_precision(predictions.device):  # but TF32, where the user has allowed it
        similarity = torch.bmm(scores, q.mT)
    each = (scores.logsumexp(-1, keepdim=True) - similarity).mean(0)  # (V, T)
    own = sum(each[view, target] for view, target in same_view.items())
    return (each.sum() - own) / (each.numel() - len(same_view))
