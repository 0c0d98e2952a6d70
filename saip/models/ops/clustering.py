"""Clustering of patch tokens, for a whole batch at once and the same on every run.

Nothing here waits for a GPU, draws a random number or changes its result from run to run: no
prefix sums on the device (their order of addition is not fixed there), no shape that depends on
values. Legend: B images, N tokens of an image, D width, k clusters, R starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saip.models.ops.precision import full_precision

STARTS = 4
ITERATIONS = 10
ROUNDING = 1e-4
"""Relative distance of two cluster means below which they are one: a norm without a learned gain
leaves tokens of one length, whose rounding errors are no foreground."""

GOLDEN = 0.6180339887498949


@torch.no_grad()
def split_in_two(values: Tensor) -> Tensor:
    """Return which values lie in the upper of two clusters, by exact k-means in one dimension.

    The best two clusters of numbers are separated by a threshold; all of them are tried, and the
    one with the smallest squared error is taken. Where all values are equal but for rounding, none
    is in the upper cluster.

    Args:
        values: (B, N).

    Returns:
        (B, N) bool.
    """
    with full_precision(values.device):
        values = values.float()
        centered = values - values.mean(1, keepdim=True)
        # Candidate j of image b: what is greater than value j.
        above = values[:, None, :] > values[:, :, None]  # (B, N candidates, N)
        upper = above.sum(-1)
        lower = values.shape[1] - upper
        total = (above * centered[:, None, :]).sum(-1)
        # The sum of all centered values is 0, so both clusters' sums differ by their sign.
        gap = total / upper.clamp(min=1) + total / lower
        between = total.square() * (1 / upper.clamp(min=1) + 1 / lower)
        best = between.argmax(1, keepdim=True)
        apart = gap.gather(1, best) > ROUNDING * values.abs().mean(1, keepdim=True)
        chosen = above.gather(1, best[..., None].expand(-1, -1, values.shape[1]))[:, 0]
        return chosen & apart


@torch.no_grad()
def cluster(tokens: Tensor, use: Tensor, k: int) -> Tensor:
    """Return the cluster of each token, by Lloyd's k-means from k-means++ starts.

    k-means++ (Arthur and Vassilvitskii, 2007) draws the next center with a probability
    proportional to the squared distance from those chosen; here the drawn numbers are fixed. Of
    ``STARTS`` such beginnings the one that ends with the smallest squared error is taken.

    Args:
        tokens: (B, N, D).
        use: (B, N) bool, the tokens that take part; at least one where the result is to be used.
        k: number of clusters, some of which may stay empty.

    Returns:
        (B, N) in 0 ... k - 1, for tokens that take no part as well.
    """
    with full_precision(tokens.device):
        weight = use.float()
        tokens = tokens.float()
        # Distances do not change, and are exacter near the origin.
        mean = (tokens * weight[..., None]).sum(1) / weight.sum(1).clamp(min=1)[:, None]
        tokens = tokens - mean[:, None]
        centers = _start(tokens, weight, k)  # (B, R, k, D)
        for _ in range(ITERATIONS):
            centers = _move(tokens, weight, centers)
        distances = _distances(tokens, centers)
        error, found = distances.min(2)  # (B, R, N)
        best = (error * weight[:, None]).sum(-1).argmin(1)
        return found[torch.arange(len(tokens), device=tokens.device), best]


def order_by_row(clusters: Tensor, use: Tensor, k: int, columns: int) -> Tensor:
    """Number clusters from top to bottom by the mean row of their tokens.

    Args:
        clusters: (B, N) in 0 ... k - 1, tokens in raster order.
        use: (B, N) bool, the tokens that count.
        k: number of clusters.
        columns: of the grid.

    Returns:
        (B, N): 1 ... k from the top; 0 for tokens that do not count. An empty cluster comes last.
    """
    members = _one_hot(clusters, k) * use[..., None]  # (B, N, k)
    rows = torch.arange(clusters.shape[1], device=clusters.device) // columns
    count = members.sum(1)
    mean_row = (members * rows[:, None]).sum(1) / count.clamp(min=1)
    mean_row = mean_row.masked_fill(count == 0, float('inf'))
    rank = mean_row.argsort(dim=1, stable=True).argsort(1)  # (B, k)
    return (rank.gather(1, clusters) + 1) * use


def _start(tokens: Tensor, weight: Tensor, k: int) -> Tensor:
    """Centers (B, R, k, D) chosen among the tokens by k-means++ with fixed numbers."""
    device = tokens.device
    images = torch.arange(len(tokens), device=device)[:, None]
    nearest = weight[:, None].expand(-1, STARTS, -1)  # squared distances; the first is uniform
    chosen: list[Tensor] = []
    for number in range(k):
        # An additive recurrence spreads the numbers of the starts evenly over (0, 1).
        spread = torch.arange(STARTS, device=device) * k + number
        quantile = (0.5 + spread * GOLDEN) % 1
        index = _at_quantile(nearest, quantile)
        center = tokens[images, index]  # (B, R, D)
        chosen.append(center)
        distance = _distances(tokens, center[:, :, None])[:, :, 0].clamp(min=0)
        distance = distance * weight[:, None]
        nearest = distance if number == 0 else torch.minimum(nearest, distance)
    return torch.stack(chosen, 2)


def _at_quantile(mass: Tensor, quantile: Tensor) -> Tensor:
    """Index of the token at a quantile of the mass: (B, R, N), (R,) -> (B, R)."""
    count = mass.shape[-1]
    earlier = torch.ones(count, count, device=mass.device).triu()
    below = mass @ earlier  # (B, R, N) mass up to and with each token
    wanted = quantile[:, None] * below[..., -1:]
    return (below <= wanted).sum(-1).clamp(max=count - 1)


def _distances(tokens: Tensor, centers: Tensor) -> Tensor:
    """Squared distances (B, R, k, N) of (B, N, D) tokens from (B, R, k, D) centers."""
    flat = centers.flatten(1, 2)
    products = (flat @ tokens.transpose(1, 2)).unflatten(1, centers.shape[1:3])
    lengths = tokens.square().sum(-1)[:, None, None] + centers.square().sum(-1)[..., None]
    return lengths - 2 * products


def _move(tokens: Tensor, weight: Tensor, centers: Tensor) -> Tensor:
    """One iteration of Lloyd's; the center of an empty cluster stays."""
    starts, k = centers.shape[1:3]
    found = _distances(tokens, centers).argmin(2)  # (B, R, N)
    members = _one_hot(found, k) * weight[:, None, :, None]  # (B, R, N, k)
    count = members.sum(2)[..., None]  # (B, R, k, 1)
    sums = members.transpose(2, 3).flatten(1, 2) @ tokens
    means = sums.unflatten(1, (starts, k)) / count.clamp(min=1)
    return torch.where(count > 0, means, centers)


def _one_hot(clusters: Tensor, k: int) -> Tensor:
    """(...) in 0 ... k - 1 -> (..., k) float; torch's own looks at the values."""
    return (clusters[..., None] == torch.arange(k, device=clusters.device)).float()
