"""Distance of predicted features from those of a fixed encoder, between different views."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.models.ops.blocks import NORM_EPS
from saip.models.ops.precision import widen

Measure = Literal['smooth_l1', 'cosine']


def feature_distillation(
    predictions: Tensor,
    targets: Tensor,
    same_view: dict[int, int],
    num_views: int,
    measure: Measure = 'smooth_l1',
) -> Tensor:
    """Mean distance over all pairs of a target view and another predicting view.

    Targets are brought to mean 0 and variance 1 over their channels, because encoders differ in
    scale. ``smooth_l1`` is the mean over the channels of ``e^2 / 2`` where the error e is below
    1 and ``|e| - 1/2`` elsewhere, so that the few huge channels of a transformer do not outweigh
    all others; ``cosine`` is 1 minus the cosine.

    Args:
        predictions: (V * B, D), view-major.
        targets: (T * B, D), view-major.
        same_view: prediction index -> target index of the same view, which is left out.
        num_views: V.
        measure: the distance.

    Returns:
        Scalar.
    """
    batch = len(predictions) // num_views
    goals = F.layer_norm(widen(targets), targets.shape[-1:], eps=NORM_EPS)
    distances = [
        _distance(view, goal, measure)
        for i, view in enumerate(widen(predictions).split(batch))
        for j, goal in enumerate(goals.split(batch))
        if same_view.get(i) != j
    ]
    return torch.stack(distances).mean()


def _distance(predicted: Tensor, goal: Tensor, measure: Measure) -> Tensor:
    if measure == 'cosine':
        return 1 - F.cosine_similarity(predicted, goal, dim=-1).mean()
    return F.smooth_l1_loss(predicted, goal)
