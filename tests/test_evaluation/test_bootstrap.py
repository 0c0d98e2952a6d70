"""Intervals of retrieval figures."""

import numpy as np
import pytest

from saip.evaluation.bootstrap import bootstrap_interval, sum_by_identity


def test_values_are_joined_by_identity():
    values = [[1.0, 0.5], [0.0, 0.25], [1.0, 1.0]]
    sums = sum_by_identity(values, [7, 3, 7])
    assert sums.tolist() == [[1, 0, 0.25], [2, 2, 1.5]]  # identity 3, then 7


def test_an_interval_is_that_of_a_loop_over_resampled_identities():
    """Brute force: draw identities, put their queries together, average these."""
    rng = np.random.default_rng(1)
    pids = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    values = (rng.random((len(pids), 2)) < 0.2 + 0.6 * (pids[:, None] % 3 == 0)).astype(float)
    means = []
    for _ in range(4000):
        drawn = rng.integers(0, 30, 30)
        rows = np.concatenate([np.flatnonzero(pids == pid) for pid in drawn])
        means.append(values[rows].mean(axis=0))
    expected = np.quantile(means, (0.025, 0.975), axis=0).T
    found = bootstrap_interval(sum_by_identity(values, pids), resamples=4000)
    np.testing.assert_allclose(found, expected, atol=0.012)
    assert (found[:, 0] < values.mean(axis=0)).all()
    assert (found[:, 1] > values.mean(axis=0)).all()


def test_equal_queries_of_one_identity_do_not_narrow_an_interval():
    rng = np.random.default_rng(0)
    once = rng.random((40, 1))
    often = np.repeat(once, 10, axis=0)
    alone = bootstrap_interval(sum_by_identity(once, np.arange(40)))
    repeated = bootstrap_interval(sum_by_identity(often, np.repeat(np.arange(40), 10)))
    np.testing.assert_allclose(repeated, alone, atol=1e-12)


def test_other_figures_of_several_runs_are_averaged():
    """Brute force, of a figure that is no mean over what is drawn: an overlap of totals."""
    rng = np.random.default_rng(2)
    runs = rng.integers(1, 9, (2, 25, 2)).astype(float)
    runs[..., 1] += runs[..., 0]

    def overlap(totals):
        return totals[..., :1] / totals[..., 1:]

    figures = []
    for _ in range(4000):
        drawn = rng.integers(0, 25, 25)
        totals = [run[drawn].sum(axis=0) for run in runs]
        figures.append(np.mean([first / second for first, second in totals]))
    expected = np.quantile(figures, (0.025, 0.975))
    found = bootstrap_interval(runs, overlap, resamples=4000)
    np.testing.assert_allclose(found, expected[None], atol=0.008)


def test_an_interval_is_the_same_at_every_call_and_in_pieces(monkeypatch):
    sums = sum_by_identity(np.random.default_rng(0).random((50, 1)), np.arange(50))
    first = bootstrap_interval(sums)
    assert (bootstrap_interval(sums) == first).all()
    assert (bootstrap_interval(sums, seed=1) != first).any()
    monkeypatch.setattr('saip.evaluation.bootstrap._AT_ONCE', 7 * 50)
    assert (bootstrap_interval(sums) == first).all()


def test_no_spread_gives_a_point():
    sums = sum_by_identity(np.ones((9, 1)), np.arange(9) // 2)
    assert bootstrap_interval(sums).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize('sums', [np.zeros((0, 2)), [[0.0, 1.0]]])
def test_an_interval_of_nobody_is_refused(sums):
    with pytest.raises(ValueError, match='at least one identity'):
        bootstrap_interval(sums)
