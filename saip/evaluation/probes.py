"""Linear probes of frozen patch tokens, for measures of dense features.

Both have a bias for each place, since persons in their boxes stand alike: tokens that say nothing
reach the mean annotation of each place, and a network is measured by what its tokens add to that.
Both minimize a mean cross-entropy plus a quadratic penalty. That is strictly convex, so the result
depends on tokens and annotations, not on an initialization, an order or a seed.

Shapes: N images, L patches of a grid (h, w) in raster order, D channels, C classes, K keypoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.features import require_finite
from saip.structures import Grid

PENALTY = 1e-3
"""Weight of half the squared norm of a probe's weights, beside a mean over patches or keypoints.
Biases count for 1/L: only one patch in L has the bias of its place."""

STEPS = 200
_TOLERANCE = 1e-6
_EPS = 1e-6


@dataclass(frozen=True)
class LinearProbe:
    """A linear map of tokens whose channels are standardized.

    Attributes:
        mean: (D,) of the channels, over images and patches.
        std: (D,) of the channels.
        weight: (D, C).
        bias: (L, C).
    """

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map (N, L, D) tokens to (N, L, C) float64 scores."""
        return ((tokens.double() - self.mean) / self.std) @ self.weight + self.bias


def fit_patch_probe(tokens: Tensor, shares: Tensor, penalty: float = PENALTY) -> LinearProbe:
    """Learn which class a patch shows: a multinomial logistic regression.

    Args:
        tokens: (N, L, D).
        shares: (N, L, C) which share of a patch each class covers; the targets of the
            cross-entropy, whose mean over patches is minimized.
        penalty: see ``PENALTY``.

    Raises:
        InputError: tokens are not finite.
    """
    mean, std = _statistics(tokens)
    inputs = (tokens.double() - mean) / std
    targets = shares.double()

    def entropy(scores: Tensor) -> Tensor:
        return F.cross_entropy(scores.flatten(0, 1), targets.flatten(0, 1))

    weight, bias = _minimize(entropy, inputs, targets.shape[2], penalty)
    return LinearProbe(mean, std, weight, bias)


def fit_place_probe(
    tokens: Tensor, targets: Tensor, labeled: Tensor, penalty: float = PENALTY
) -> LinearProbe:
    """Learn in which patch of an image each keypoint lies: a conditional logistic regression.

    The scores of a keypoint are normalized over the patches of an image (McFadden's conditional
    logit), so that the probe learns what it is read for: the best patch.

    Args:
        tokens: (N, L, D).
        targets: (N, K, L) distribution of each keypoint over the patches.
        labeled: (N, K) which of them are annotated; the mean of the cross-entropies over these
            is minimized.
        penalty: see ``PENALTY``.

    Raises:
        InputError: tokens are not finite, or nothing is annotated.
    """
    if not labeled.any():
        raise InputError('a probe of keypoints needs at least one that is annotated')
    mean, std = _statistics(tokens)
    inputs = (tokens.double() - mean) / std
    goals = targets.double()
    weights = labeled.double() / labeled.sum()

    def entropy(scores: Tensor) -> Tensor:
        chances = scores.transpose(1, 2).log_softmax(dim=2)  # (N, L, K) -> (N, K, L)
        return -(weights * (goals * chances).sum(dim=2)).sum()

    weight, bias = _minimize(entropy, inputs, goals.shape[1], penalty)
    return LinearProbe(mean, std, weight, bias)


def patch_shares(labels: Tensor, classes: int, grid: Grid) -> Tensor:
    """Which share of each patch every class covers.

    Args:
        labels: (N, H, W) class of each pixel.
        classes: number of classes.
        grid: (h, w) patches.

    Returns:
        (N, L, C) float32.
    """
    # Class by class: a one-hot map of all pixels would be large.
    planes = [
        F.adaptive_avg_pool2d((labels == number).float()[:, None], grid)
        for number in range(classes)
    ]
    return torch.cat(planes, dim=1).flatten(2).transpose(1, 2)


def place_targets(points: Tensor, grid: Grid) -> Tensor:
    """Share each point among the four patches around it, bilinearly.

    The mean of their centers is the point, unless it lies within half a patch of the border.

    Args:
        points: (N, K, 2) x and y in [0, 1].
        grid: (h, w) patches.

    Returns:
        (N, K, L) float32 distributions.
    """
    columns, rows = (
        _hat(points[..., axis], count) for axis, count in ((0, grid[1]), (1, grid[0]))
    )
    return (rows[..., :, None] * columns[..., None, :]).flatten(2)


def read_places(scores: Tensor, grid: Grid) -> Tensor:
    """Where keypoints are: the mean of the patches around the best one, by their probability.

    Args:
        scores: (N, L, K) of a probe.
        grid: (h, w) patches.

    Returns:
        (N, K, 2) x and y in [0, 1].
    """
    height, width = grid
    chances = scores.transpose(1, 2).softmax(dim=2)
    best = chances.argmax(dim=2, keepdim=True)
    cells = torch.arange(height * width, device=scores.device)
    near = ((cells // width - best // width).abs() <= 1) & (
        (cells % width - best % width).abs() <= 1
    )
    chances = chances * near
    chances = chances / chances.sum(dim=2, keepdim=True)
    centers = torch.stack(
        [(cells % width + 0.5) / width, (cells // width + 0.5) / height], dim=1
    )
    return chances @ centers.to(chances.dtype)


def _hat(places: Tensor, count: int) -> Tensor:
    """Weights of ``count`` cells for places in [0, 1]: 1 at a cell's center, 0 at the next."""
    position = (places.float() * count - 0.5).clamp(0, count - 1)
    cells = torch.arange(count, device=places.device)
    return (1 - (position[..., None] - cells).abs()).clamp(min=0)


def _statistics(tokens: Tensor) -> tuple[Tensor, Tensor]:
    require_finite(tokens, 'patch tokens')
    rows = tokens.double().flatten(0, -2)
    std = rows.std(dim=0, correction=0)
    # A channel that is constant says nothing; dividing by its noise would make it say something.
    return rows.mean(dim=0), std.clamp(min=_EPS * max(1.0, float(std.max())))


def _minimize(
    entropy: Callable[[Tensor], Tensor], inputs: Tensor, outputs: int, penalty: float
) -> tuple[Tensor, Tensor]:
    """Minimize a convex function of the scores, plus the penalty, by L-BFGS with a line search.

    Args:
        entropy: of (N, L, C) scores.
        inputs: (N, L, D).
        outputs: C.
        penalty: see ``PENALTY``.

    Returns:
        (D, C) weights and (L, C) biases.
    """
    _, places, width = inputs.shape
    weight = inputs.new_zeros(width, outputs).requires_grad_()
    bias = inputs.new_zeros(places, outputs).requires_grad_()
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
        norm = weight.square().sum() + bias.square().sum() / places
        value = entropy(inputs @ weight + bias) + penalty / 2 * norm
        value.backward()
        return value.detach()

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()
