"""Batched k-means against exhaustive searches and another library's."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2

from saip.models.ops.clustering import cluster, order_by_row, split_in_two


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def squared_error(points: np.ndarray, labels: np.ndarray) -> float:
    parts = [points[labels == label] for label in np.unique(labels)]
    return sum(((part - part.mean(0)) ** 2).sum() for part in parts)


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize('count', [2, 5, 33])
def test_two_clusters_of_numbers_are_the_best_of_all_thresholds(count):
    values = rand(16, count).exp() * 7
    found = split_in_two(values)
    for row, upper in zip(values.double().numpy(), found.numpy(), strict=True):
        ordered = np.sort(row)
        errors = [
            ordered[:j].var() * j + ordered[j:].var() * (count - j) for j in range(1, count)
        ]
        threshold = ordered[1 + int(np.argmin(errors))]
        assert (upper == (row >= threshold)).all()


def test_equal_numbers_have_no_upper_cluster():
    values = torch.full((3, 8), 13.856)
    values[1] += 1e-6 * rand(8)  # what rounding leaves of a norm without a gain
    values[2, 5] = 14.0
    assert split_in_two(values).nonzero().tolist() == [[2, 5]]


def test_the_same_number_is_never_on_both_sides():
    values = torch.tensor([[1.0, 1, 1, 2, 2, 9, 9, 9], [0, 0, 0, 0, 0, 0, 0, 4]])
    expected = [[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 1]]
    assert split_in_two(values).int().tolist() == expected


def test_few_points_get_the_best_of_all_partitions():
    points = rand(12, 7, 2, seed=3)
    found = cluster(points, torch.ones(12, 7, dtype=torch.bool), 3).numpy()
    every = [np.array(labels) for labels in product(range(3), repeat=7)]
    ratios = []
    for image, labels in zip(points.double().numpy(), found, strict=True):
        best = min(squared_error(image, each) for each in every)
        ratios.append(squared_error(image, labels) / best)
    # Lloyd's algorithm finds a local optimum; with four starts it is usually the global one.
    assert np.mean(np.isclose(ratios, 1, rtol=1e-4)) >= 0.8
    assert max(ratios) < 1.5


@pytest.mark.parametrize('seed', range(3))
def test_separable_clusters_are_those_of_scipy(seed):
    """Clusters of different sizes, some tokens that take no part, all images in one call."""
    generator = torch.Generator().manual_seed(seed)
    batch, count, dims = 20, 40, 12
    centers = 8 * torch.randn(batch, 3, dims, generator=generator)
    member = torch.randint(0, 3, (batch, count), generator=generator)
    tokens = centers[torch.arange(batch)[:, None], member]
    tokens = 100 + tokens + 0.5 * torch.randn(tokens.shape, generator=generator)
    use = torch.rand(batch, count, generator=generator) < 0.7
    found = cluster(tokens, use, 3).numpy()
    for points, part, labels in zip(tokens.double().numpy(), use.numpy(), found, strict=True):
        starts = [kmeans2(points[part], 3, minit='++', seed=s, iter=50)[1] for s in range(5)]
        best = min(starts, key=lambda each: squared_error(points[part], each))
        assert partition(labels[part]) == partition(best)


def test_tokens_that_take_no_part_do_not_matter():
    tokens, use = rand(4, 20, 6), torch.rand(4, 20) < 0.6
    other = torch.where(use[..., None], tokens, 1000 * rand(4, 20, 6, seed=5))
    found, again = cluster(tokens, use, 3), cluster(other, use, 3)
    assert torch.equal(found[use], again[use])


def test_an_image_does_not_depend_on_its_batch():
    tokens, use = rand(6, 30, 8, seed=1), torch.rand(6, 30) < 0.8
    whole = cluster(tokens, use, 3)
    for i in range(6):
        single = cluster(tokens[i : i + 1], use[i : i + 1], 3)[0]
        assert partition(single[use[i]].numpy()) == partition(whole[i][use[i]].numpy())


def test_fewer_points_than_clusters_leave_the_last_part_empty():
    """Two distinct points, the lower one first in no order that matters."""
    tokens = torch.zeros(1, 8, 3)
    tokens[0, [1, 3, 5]] = 4.0
    use = torch.tensor([[True] * 6 + [False] * 2])
    clusters = cluster(tokens, use, 3)
    labels = order_by_row(clusters, use, 3, columns=2)
    # Mean rows: points 0, 2, 4 and points 1, 3, 5 both 1; of equal rows the order is fixed.
    assert labels[0, 6:].tolist() == [0, 0]
    assert set(labels[0, :6].tolist()) == {1, 2}
    assert torch.equal(labels, order_by_row(cluster(tokens, use, 3), use, 3, columns=2))


def test_no_token_at_all_gives_finite_labels():
    use = torch.zeros(2, 6, dtype=torch.bool)
    labels = order_by_row(cluster(rand(2, 6, 4), use, 3), use, 3, columns=2)
    assert not labels.any()


def test_parts_are_numbered_from_the_top():
    """A 4x2 grid; cluster 2 lies on top, 0 in the middle, 1 below, and one cell is background."""
    clusters = torch.tensor([[2, 2, 2, 0, 0, 1, 1, 1]])
    use = torch.tensor([[True] * 7 + [False]])
    assert order_by_row(clusters, use, 3, columns=2).tolist() == [[1, 1, 1, 2, 2, 3, 3, 0]]
    # By the mean and not by the highest cell: cluster 0 begins first and reaches farther down.
    clusters = torch.tensor([[0, 1, 1, 1, 2, 2, 0, 0]])
    use = torch.ones(1, 8, dtype=torch.bool)
    assert order_by_row(clusters, use, 3, columns=2).tolist() == [[2, 1, 1, 1, 3, 3, 2, 2]]
