"""Cross-entropy between prototype distributions of different views."""

from __future__ import annotations

from torch import Tensor


def self_distillation(
    predictions: Tensor, targets: Tensor, same_view: dict[int, int], num_views: int
) -> Tensor:
    """Mean cross-entropy over all pairs of a target view and another predicting view.

    With target probabilities q_t and scores s_v this is the mean over the pairs of
    ``-sum_k q_tk log softmax(s_v)_k``. Since every q sums to 1, the sum over a view's targets is
    ``n logsumexp(s_v) - <sum_t q_t, s_v>``: one pass over the K prototypes per view instead of
    one log-softmax per pair.

    Args:
        predictions: (V * B, K) scores over the temperature, view-major.
        targets: (T * B, K) probabilities, view-major.
        same_view: prediction index -> target index of the same view, which is left out.
        num_views: V.

    Returns:
        Scalar.
    """
    batch = len(predictions) // num_views
    q = targets.unflatten(0, (-1, batch))  # (T, B, K)
    together = q.sum(0)
    entropies = predictions.logsumexp(-1).unflatten(0, (num_views, batch)).mean(1)
    total = predictions.new_zeros(())
    pairs = 0
    for view, scores in enumerate(predictions.split(batch)):
        own = same_view.get(view)
        wanted = together if own is None else together - q[own]
        count = len(q) - (own is not None)
        # Elementwise and not a dot product, which autocast would compute in half precision.
        similarity = (wanted * scores).sum(-1).mean()
        total = total + count * entropies[view] - similarity
        pairs += count
    return total / pairs
