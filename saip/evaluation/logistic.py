"""Logistic regression on frozen features, for few labels.

Shapes: N images, D channels, C classes or attributes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saip.evaluation.features import require_finite

STRENGTHS = tuple(10.0**power for power in range(-3, 3))
"""Inverse penalties that are tried."""

STEPS = 300
_TOLERANCE = 1e-7
_EPS = 1e-6


@dataclass(frozen=True)
class LogisticRegression:
    """A linear map of standardized features.

    Attributes:
        mean: (D,) of the features.
        std: (D,) of the features.
        weight: (D, C).
        bias: (C,).
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Map (N, D) features to (N, C) float64 scores."""
        return ((features.double() - self.mean) / self.std) @ self.weight + self.bias


def fit_logistic(
    features: Tensor, targets: Tensor, classes: int, strength: float
) -> LogisticRegression:
    """Minimize ``strength * sum of cross-entropies + squared norm of the weights / 2``.

    The objective of scikit-learn's ``LogisticRegression(C=strength)`` on standardized features;
    biases are not penalized. Attributes have a regression each. Two classes have a single one, as
    there, whose weights are the difference of the two columns.

    Args:
        features: (N, D).
        targets: (N,) classes or (N, C) attributes of 0 and 1.
        classes: number C.
        strength: inverse penalty.

    Raises:
        InputError: features are not finite.
    """
    require_finite(features)
    # Two columns of one regression with weights w are -w / 2 and w / 2, of half its squared norm.
    share = 1.0 if targets.ndim == 1 and classes == 2 else 0.5
    rows = features.double()
    mean, std = rows.mean(0), rows.std(0, correction=0)
    # A constant channel says nothing; dividing by its noise would make it say something.
    std = std.clamp(min=_EPS * max(1.0, float(std.max())))
    inputs = (rows - mean) / std
    weight = inputs.new_zeros(inputs.shape[1], classes).requires_grad_()
    bias = inputs.new_zeros(classes).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn='strong_wolfe',
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = inputs @ weight + bias
        if targets.ndim == 2:
            error = F.binary_cross_entropy_with_logits(
                scores, targets.double(), reduction='sum'
            )
        else:
            error = F.cross_entropy(scores, targets, reduction='sum')
        # Divided by N, so that the tolerance means the same for few labels and for many.
        value = (strength * error + share * weight.square().sum()) / (strength * len(inputs))
        value.backward()
        return value.detach()

    with torch.enable_grad():
        optimizer.step(closure)
    return LogisticRegression(mean, std, weight.detach(), bias.detach())


def draw_labels(targets: Tensor, share: float, seed: int) -> Tensor:
    """Places of the images whose labels are known.

    Of classes each has its share, at least one image; of attributes images are drawn alike.

    Args:
        targets: (N,) classes or (N, C) attributes.
        share: above 0 and at most 1.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    if targets.ndim == 2:
        count = max(1, round(share * len(targets)))
        return torch.from_numpy(np.sort(rng.permutation(len(targets))[:count]))
    chosen = []
    labels = targets.cpu().numpy()
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        chosen.append(places[: max(1, round(share * len(places)))])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def fit_best(features: Tensor, targets: Tensor, classes: int, seed: int) -> LogisticRegression:
    """Choose the strength by a fifth of the labels, then fit all of them.

    Classes with a single image stay in what is learned from. Where nothing can be held back, the
    strength is 1.
    """
    held = _held_back(targets, seed)
    if not held.any():
        return fit_logistic(features, targets, classes, 1.0)
    rest = ~held
    errors = []
    for strength in STRENGTHS:
        model = fit_logistic(features[rest], targets[rest], classes, strength)
        scores = model(features[held])
        if targets.ndim == 2:
            error = F.binary_cross_entropy_with_logits(scores, targets[held].double())
        else:
            error = F.cross_entropy(scores, targets[held])
        errors.append(float(error))
    best = STRENGTHS[int(np.argmin(errors))]
    return fit_logistic(features, targets, classes, best)


def _held_back(targets: Tensor, seed: int) -> Tensor:
    """(N,) bool, a fifth of each class, none of a class with one image."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(targets), dtype=bool)
    if targets.ndim == 2:
        held[rng.permutation(len(targets))[: len(targets) // 5]] = True
    else:
        labels = targets.cpu().numpy()
        for label in np.unique(labels):
            places = rng.permutation(np.flatnonzero(labels == label))
            if len(places) > 1:
                held[places[: max(1, len(places) // 5)]] = True
    return torch.from_numpy(held).to(targets.device)
