"""Re-ranking by shared neighbors (Zhong et al., k-reciprocal Encoding, 2017).

Legend: Q queries, G gallery images, N = Q + G, D width of a feature.

An image is described by who is near it in both directions; images with similar descriptions
are close. A description has about a hundred entries and is kept as such, so that memory grows
with N and not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.features import normalize

BLOCK_ELEMENTS = 2**24
"""Distances held at once while neighbors are searched."""

Sparse = list[tuple[np.ndarray, np.ndarray]]
"""Per image the numbers of others, ascending, and their weights."""


@dataclass(frozen=True)
class ReRanking:
    """How far neighbors are asked, and how much they count.

    Attributes:
        k1: neighbors that may be reciprocal.
        k2: neighbors over which a description is averaged.
        lambda_value: weight of the original distance, the neighbors' is 1 minus it.
    """

    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def __post_init__(self) -> None:
        if not 1 <= self.k2 <= self.k1:
            raise InputError(f'rerank: 1 <= k2 <= k1 is needed, not k1={self.k1} k2={self.k2}')
        if not 0 <= self.lambda_value <= 1:
            raise InputError(f'rerank.lambda_value={self.lambda_value}: choose from 0 to 1')


def rerank(query: Tensor, gallery: Tensor, options: ReRanking) -> Tensor:
    """Return (Q, G) float32 distances on the CPU, the smaller the more alike.

    They are ``lambda_value`` times the squared Euclidean distance of the normalized features,
    divided by the query's largest, plus the rest times the Jaccard distance of the descriptions.

    Args:
        query: (Q, D) features, not necessarily normalized.
        gallery: (G, D) features.
        options: how.
    """
    features = torch.cat([normalize(query), normalize(gallery)])
    neighbors, farthest = _search(features, options.k1 + 1)
    described = _describe(features, neighbors, farthest, options.k1)
    if options.k2 > 1:
        described = [_mean([described[j] for j in row[: options.k2]]) for row in neighbors]
    number = len(query)
    scale = torch.from_numpy(farthest[:number]).clamp(min=torch.finfo(torch.float32).tiny)
    result = torch.empty(number, len(gallery))
    for rows in _blocks(number, len(gallery)):
        own = (2 - 2 * features[:number][rows] @ features[number:].T).clamp(min=0).cpu()
        result[rows] = options.lambda_value * own / scale[rows, None]
    for i, jaccard in enumerate(_jaccard(described, number)):
        result[i] += (1 - options.lambda_value) * torch.from_numpy(jaccard)
    return result


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK_ELEMENTS // max(1, columns))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _search(features: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of each, (N, count), itself first, and the largest distance, (N,)."""
    total = len(features)
    nearest, farthest = [], []
    for rows in _blocks(total, total):
        distance = (2 - 2 * features[rows] @ features.T).clamp(min=0)
        # An image is its own first neighbor, before any copy of it.
        own = torch.arange(rows.start, rows.stop, device=features.device)
        distance[own - rows.start, own] = -1
        nearest.append(distance.topk(min(count, total), largest=False).indices.cpu())
        farthest.append(distance.amax(1).cpu())
    return torch.cat(nearest).numpy(), torch.cat(farthest).numpy()


def _reciprocal(neighbors: np.ndarray, i: int, k: int) -> np.ndarray:
    """Return those of the k + 1 nearest of ``i`` that have it among their k + 1 nearest."""
    forward = neighbors[i, : k + 1]
    return forward[(neighbors[forward, : k + 1] == i).any(1)]


def _describe(features: Tensor, neighbors: np.ndarray, farthest: np.ndarray, k: int) -> Sparse:
    """Describe each image by its reciprocal neighbors, weighted by nearness, sum 1.

    A neighbor's own reciprocal neighbors join where more than two thirds of them are in the
    set already.
    """
    half = round(k / 2)
    closer = [_reciprocal(neighbors, i, half) for i in range(len(neighbors))]
    rows = features.cpu().numpy()
    described = []
    for i in range(len(neighbors)):
        own = _reciprocal(neighbors, i, k)
        joined = [own]
        for j in own:
            if np.isin(closer[j], own).sum() > 2 / 3 * len(closer[j]):
                joined.append(closer[j])
        members = np.unique(np.concatenate(joined))
        distance = np.maximum(2 - 2 * rows[members] @ rows[i], 0)
        weight = np.exp(-distance / max(farthest[i], np.finfo(np.float32).tiny))
        described.append((members, (weight / weight.sum()).astype(np.float32)))
    return described


def _mean(rows: Sparse) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of descriptions."""
    members, place = np.unique(np.concatenate([m for m, _ in rows]), return_inverse=True)
    weights = np.concatenate([w for _, w in rows])
    summed = np.bincount(place, weights, len(members)) / len(rows)
    return members, summed.astype(np.float32)


def _jaccard(described: Sparse, queries: int) -> Iterator[np.ndarray]:
    """Yield the Jaccard distances (G,) of each query: 1 - sum of minima / sum of maxima.

    Descriptions sum to 1, so that the maxima sum to 2 minus the minima.
    """
    gallery = described[queries:]
    lengths = [len(members) for members, _ in gallery]
    holder = np.repeat(np.arange(len(gallery)), lengths)
    member = np.concatenate([members for members, _ in gallery])
    weight = np.concatenate([weights for _, weights in gallery])
    order = np.argsort(member, kind='stable')
    holder, weight = holder[order], weight[order]
    # Where the entries of each member begin: who of the gallery is described by it.
    begin = np.searchsorted(member[order], np.arange(len(described) + 1))
    for members, own in described[:queries]:
        counts = begin[members + 1] - begin[members]
        found = np.concatenate([np.arange(begin[m], begin[m + 1]) for m in members])
        common = np.minimum(weight[found], np.repeat(own, counts))
        minima = np.bincount(holder[found], common, len(gallery))
        yield (1 - minima / (2 - minima)).astype(np.float32)
