"""How far a figure could lie from here with other people: intervals by bootstrap."""

from __future__ import annotations

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


def bootstrap_interval(
    sums: ArrayLike, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> np.ndarray:
    """Interval of means over queries, by drawing identities anew with replacement.

    Queries of one identity are alike, so identities are what is drawn: an interval over queries
    would be too narrow. The bounds are percentiles of the resampled means (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        sums: (I, 1 + M) of :func:`sum_by_identity`.
        resamples: how often as many identities as there are, are drawn.
        level: share of the resampled means inside of the interval.
        seed: of the draws; equal seeds and numbers of identities draw the same identities, for
            every encoder.

    Returns:
        (M, 2) lower and upper bounds.

    Raises:
        InputError: there is no identity, or one has no query.
    """
    table = np.asarray(sums, np.float64)
    if table.ndim != 2 or not len(table) or not (table[:, 0] > 0).all():
        raise InputError('an interval needs at least one identity, and of each a query')
    rng = np.random.Generator(np.random.PCG64(seed))
    count = len(table)
    chance = np.full(count, 1 / count)
    means, step = [], max(1, _AT_ONCE // count)
    for start in range(0, resamples, step):
        # How often each identity is drawn: the sums follow by one product.
        drawn = rng.multinomial(count, chance, size=min(step, resamples - start))
        totals = drawn @ table
        means.append(totals[:, 1:] / totals[:, :1])
    tail = (1 - level) / 2
    return np.quantile(np.concatenate(means), (tail, 1 - tail), axis=0).T
