"""How far a figure could lie from here with other people: intervals by bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from saip.errors import InputError

RESAMPLES = 2000
LEVEL = 0.95
_AT_ONCE = 2**22
"""Numbers drawn at once: about 32 MB."""


def sum_by_identity(values: ArrayLike, identities: ArrayLike) -> np.ndarray:
    """Join the values of each identity.

    Args:
        values: (N, M) figures of N queries.
        identities: (N,) whose queries they are.

    Returns:
        (I, 1 + M): of each identity, in their order, the number of its queries and the sums of
        their values.
    """
    table = np.asarray(values, np.float64)
    _, place = np.unique(np.asarray(identities), return_inverse=True)
    sums = np.zeros((int(place.max()) + 1, 1 + table.shape[1]))
    np.add.at(sums, place, np.concatenate([np.ones((len(table), 1)), table], axis=1))
    return sums


def ratios(totals: np.ndarray) -> np.ndarray:
    """Means (..., M) of totals (..., 1 + M), a number and sums."""
    return totals[..., 1:] / totals[..., :1]


def bootstrap_interval(
    sums: ArrayLike,
    figures: Callable[[np.ndarray], np.ndarray] = ratios,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> np.ndarray:
    """Interval of figures, by drawing what they are summed over anew with replacement.

    What is drawn has to be independent: queries of one identity are alike, so of a retrieval
    identities are drawn; an interval over queries would be too narrow. The bounds are percentiles
    of the resampled figures (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13).

    Args:
        sums: (I, K) of the I identities or images, such as those of :func:`sum_by_identity`; or
            (S, I, K) of S runs on the same ones, whose figures are averaged.
        figures: (..., K) totals of a draw -> (..., M) figures.
        resamples: how often as many as there are, are drawn.
        level: share of the resampled figures inside of the interval.
        seed: of the draws; equal seeds and numbers draw the same, for every encoder.

    Returns:
        (M, 2) lower and upper bounds.

    Raises:
        InputError: there is nothing to draw, or the first column, where it counts, has a 0.
    """
    table = np.asarray(sums, np.float64)
    if table.ndim not in (2, 3) or not table.shape[-2]:
        raise InputError('an interval needs at least one identity, and of each a query')
    if figures is ratios and not (table[..., 0] > 0).all():
        raise InputError('an interval needs at least one identity, and of each a query')
    runs = table.reshape(-1, *table.shape[-2:])
    rng = np.random.Generator(np.random.PCG64(seed))
    count = runs.shape[1]
    chance = np.full(count, 1 / count)
    means, step = [], max(1, _AT_ONCE // count)
    for start in range(0, resamples, step):
        # How often each is drawn: the totals follow by one product.
        drawn = rng.multinomial(count, chance, size=min(step, resamples - start))
        means.append(figures(drawn @ runs).mean(axis=0))
    tail = (1 - level) / 2
    return np.quantile(np.concatenate(means), (tail, 1 - tail), axis=0).T
