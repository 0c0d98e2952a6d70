"""CMC and mAP of cross-camera retrieval, by the rule of Market-1501."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.features import normalize

JUNK = -1
BLOCK_ELEMENTS = 2**22
"""Distances held at once: with their sorted copy and indices about 100 MB."""

Block = tuple[slice, Tensor]


@dataclass(frozen=True)
class QueryScores:
    """How a retrieval went, query by query.

    Attributes:
        precision: (Q,) float64 average precisions, in [0, 1]; 0 without a match.
        first: (Q,) ranks of the first match, counted from 1; 0 without a match.
        inverse_penalty: (Q,) float64, number of matches / rank of the last one; 0 without a match.
    """

    precision: Tensor
    first: Tensor
    inverse_penalty: Tensor

    @property
    def scored(self) -> Tensor:
        """(Q,) whether a query has a match; the others count for nothing."""
        return self.first > 0

    def mean_inverse_penalty(self) -> float:
        """``mINP`` in percent: the mean of the inverse negative penalty (Ye et al., 2021)."""
        return 100 * float(self.inverse_penalty[self.scored].mean())

    def summary(self, ranks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
        """``Rank-k`` and ``mAP`` in percent, and the numbers of queries; see :func:`cmc_map`."""
        scored = self.scored
        count = int(scored.sum())
        result = {
            f'Rank-{k}': 100 * float((self.first[scored] <= k).double().mean()) for k in ranks
        }
        result['mAP'] = 100 * float(self.precision[scored].mean())
        return {**result, 'queries': count, 'unmatched_queries': len(scored) - count}


def cmc_map(
    query: Tensor,
    gallery: Tensor,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_cams: ArrayLike,
    g_cams: ArrayLike,
    ranks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Score the retrieval of ``query`` features among ``gallery`` features by cosine.

    For a query, gallery images of its own identity under its own camera are removed, and so
    are junk images (identity -1). Distractors (identity 0) match no query and stay. The average
    precision is the mean of the precision at each correct match, without interpolation. A
    query that has no correct match left is not scored, only counted. Equal distances keep the
    order of the gallery. Runs on the device of the features, a block of queries at a time.

    Args:
        query: (Q, D) features, not necessarily normalized.
        gallery: (G, D) features.
        q_pids: (Q,) identities of the queries.
        g_pids: (G,) identities of the gallery.
        q_cams: (Q,) cameras of the queries.
        g_cams: (G,) cameras of the gallery.
        ranks: the ranks k of ``Rank-k``.

    Returns:
        ``Rank-k`` for each of ``ranks`` and ``mAP``, in percent; ``queries`` and
        ``unmatched_queries``, the numbers of scored and of left out queries.

    Raises:
        ValueError: shapes do not fit, features are not finite, or no query can be scored.
    """
    return score_queries(query, gallery, q_pids, g_pids, q_cams, g_cams).summary(ranks)


def score_queries(
    query: Tensor,
    gallery: Tensor,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_cams: ArrayLike,
    g_cams: ArrayLike,
) -> QueryScores:
    """Score each query by the rule of :func:`cmc_map`, which takes the same arguments.

    Raises:
        ValueError: as there.
    """
    query = normalize(query, 'query features')
    gallery = normalize(gallery, 'gallery features').to(query.device)
    if query.shape[1] != gallery.shape[1]:
        raise ValueError(
            f'query features have {query.shape[1]} dimensions, gallery features '
            f'{gallery.shape[1]}'
        )
    step = max(1, BLOCK_ELEMENTS // max(1, len(gallery)))
    blocks = (
        (slice(start, start + step), 1 - query[start : start + step] @ gallery.T)
        for start in range(0, len(query), step)
    )
    shape = (len(query), len(gallery))
    return _score(blocks, shape, (q_pids, g_pids, q_cams, g_cams))


def cmc_map_from_distance(
    distance: Tensor,
    q_pids: ArrayLike,
    g_pids: ArrayLike,
    q_cams: ArrayLike,
    g_cams: ArrayLike,
    ranks: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """Score a (Q, G) ``distance`` matrix; see :func:`cmc_map` for the rule and the result."""
    step = max(1, BLOCK_ELEMENTS // max(1, distance.shape[1]))
    blocks = (
        (slice(start, start + step), distance[start : start + step])
        for start in range(0, len(distance), step)
    )
    labels = (q_pids, g_pids, q_cams, g_cams)
    return _score(blocks, (distance.shape[0], distance.shape[1]), labels).summary(ranks)


def _score(
    blocks: Iterator[Block],
    shape: tuple[int, int],
    labels: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike],
) -> QueryScores:
    names = ('q_pids', 'g_pids', 'q_cams', 'g_cams')
    q_pids, g_pids, q_cams, g_cams = (
        _as_labels(label, shape[i % 2], name)
        for i, (label, name) in enumerate(zip(labels, names, strict=True))
    )
    ranked: list[tuple[Tensor, ...]] = []
    for rows, distance in blocks:
        device = distance.device
        # Copied once: from the second block on they are there already.
        g_pids, g_cams = g_pids.to(device), g_cams.to(device)
        pids, cams = q_pids[rows, None].to(device), q_cams[rows, None].to(device)
        same = pids == g_pids
        removed = (same & (cams == g_cams)) | (g_pids == JUNK)
        correct = same & ~removed & (pids != JUNK)
        ranked.append(_rank_block(distance.masked_fill(removed, torch.inf), correct))
    scores = QueryScores(*map(torch.cat, zip(*ranked, strict=True))) if ranked else None
    if scores is None or not scores.scored.any():
        raise InputError(
            f'none of {shape[0]} queries has an image of its identity under another camera '
            f'among {shape[1]} gallery images; check identities and cameras of the file names'
        )
    return scores


def _rank_block(distance: Tensor, correct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three attributes of :class:`QueryScores`, on the CPU.

    Args:
        distance: (q, G), infinite for removed images, which therefore rank last.
        correct: (q, G) which images are correct matches.
    """
    order = distance.argsort(dim=1, stable=True)
    rows, columns = correct.gather(1, order).nonzero(as_tuple=True)
    matches = correct.sum(dim=1)
    # The hits come row by row in the order of rank, so that a hit's number within its row is
    # its number in all less the hits of earlier rows.
    earlier = matches.cumsum(0) - matches
    number = torch.arange(len(rows), device=rows.device) - earlier[rows] + 1
    position = columns + 1
    precision_at_hit = number.cpu().double() / position.cpu().double()
    total = torch.zeros(len(matches), dtype=torch.float64)
    total.index_add_(0, rows.cpu(), precision_at_hit)
    first = torch.zeros_like(matches)
    first[rows[number == 1]] = position[number == 1]
    last = torch.ones_like(matches)
    ends = number == matches[rows]
    last[rows[ends]] = position[ends]
    inverse_penalty = matches.cpu().double() / last.cpu().double()
    return total / matches.cpu().clamp(min=1), first.cpu(), inverse_penalty


def _as_labels(labels: ArrayLike, length: int, name: str) -> Tensor:
    array = np.asarray(labels)
    if array.shape != (length,):
        raise ValueError(f'{name} must have shape ({length},), got {array.shape}')
    return torch.from_numpy(array.astype(np.int64))
