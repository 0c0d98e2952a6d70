"""Weighted k-NN against loops over images, and in blocks of any size."""

import math

import pytest
import torch

from saip.engine.hooks.collapse import spreads_in
from saip.errors import InputError
from saip.evaluation import KNNMetric
from saip.evaluation.collapse import judge_spread
from saip.evaluation.neighbors import knn_accuracy, knn_scores, nearest

TRAIN, TEST, DIMS, CLASSES = 37, 11, 6, 4


@pytest.fixture(scope='module')
def data():
    torch.manual_seed(0)
    train, test = torch.randn(TRAIN, DIMS) + 0.5, torch.randn(TEST, DIMS) + 0.5
    return train, torch.randint(CLASSES, (TRAIN,)), test, torch.randint(CLASSES, (TEST,))


def loops(train, targets, test, k, temperature):
    """Scores by pairs of images, in Python's numbers."""
    found = []
    for query in test.tolist():
        pairs = []
        for row, target in zip(train.tolist(), targets.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(query, row, strict=True))
            pairs.append((dot / math.hypot(*query) / math.hypot(*row), target))
        pairs.sort(key=lambda pair: -pair[0])
        weights = [math.exp(cosine / temperature) for cosine, _ in pairs[:k]]
        scores = [0.0] * CLASSES
        for weight, (_, target) in zip(weights, pairs[:k], strict=True):
            scores[target] += weight / sum(weights)
        found.append(scores)
    return torch.tensor(found)


@pytest.mark.parametrize('k', [1, 5, 37])
@pytest.mark.parametrize('temperature', [0.07, 1.0])
def test_scores_and_accuracy_are_those_of_loops_over_pairs(data, k, temperature):
    train, targets, test, truth = data
    expected = loops(train, targets, test, k, temperature)
    found = knn_scores(train, targets, test, CLASSES, (k,), temperature)[k]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    right = sum(int(a == b) for a, b in zip(expected.argmax(1), truth, strict=True))
    accuracy = knn_accuracy(train, targets, test, truth, (k,), temperature)
    assert accuracy == {k: pytest.approx(100 * right / TEST)}


@pytest.mark.parametrize(('test_rows', 'train_rows'), [(1, 1), (3, 7), (4, 36), (100, 100)])
def test_blocks_change_nothing(data, test_rows, train_rows):
    train, _, test, _ = data
    train, test = (x / x.norm(dim=1, keepdim=True) for x in (train, test))
    cosines, places = nearest(train, test, 8, test_rows, train_rows)
    expected, at = (test @ train.T).sort(1, descending=True)
    torch.testing.assert_close(cosines, expected[:, :8])
    assert torch.equal(places, at[:, :8])


def test_no_block_of_similarities_is_larger_than_asked_for(monkeypatch):
    """At 1,000 classes and many images memory is that of a block, not of all pairs."""
    train, test = torch.randn(5000, 8), torch.randn(1100, 8)
    sizes = []
    matmul = torch.Tensor.__matmul__

    def counted(self, other):
        out = matmul(self, other)
        sizes.append(out.numel())
        return out

    monkeypatch.setattr(torch.Tensor, '__matmul__', counted)
    nearest(train, test, 20, test_rows=100, train_rows=512)
    assert max(sizes) == 100 * 512
    assert sum(sizes) == 5000 * 1100


def test_more_neighbors_than_images_are_left_out(data):
    train, targets, test, truth = data
    assert set(knn_accuracy(train, targets, test, truth, (10, 20, 100))) == {10, 20}
    assert set(knn_accuracy(train[:3], targets[:3], test, truth, (10, 20))) == {3}


def test_attributes_are_shares_of_the_votes(data):
    train, _, test, _ = data
    attributes = torch.randint(2, (TRAIN, 3)).float()
    found = knn_scores(train, attributes, test, 3, (5,))[5]
    for column in range(3):
        alone = knn_scores(train, attributes[:, column].long(), test, 2, (5,))[5]
        torch.testing.assert_close(found[:, column], alone[:, 1])


def test_the_metric_of_a_validation(data):
    train, targets, test, truth = data
    metric = KNNMetric(neighbors=5)
    samples = [
        {'student': f, 'expert': -f, 'target': int(t), 'is_test': int(i)}
        for i, (features, labels) in enumerate([(train, targets), (test, truth)])
        for f, t in zip(features, labels, strict=True)
    ]
    metric.process(None, samples[:20])
    metric.process(None, samples[20:])
    found = metric.compute_metrics(metric.results)
    expected = knn_accuracy(train, targets, test, truth, (5,))[5]
    assert next(iter(found)) == 'student_kNN'  # what save_best='auto' follows
    assert found['student_kNN'] == found['expert_kNN'] == pytest.approx(expected)
    every = torch.cat([train, test])
    every = every / every.norm(dim=1, keepdim=True)
    for branch in ('student', 'expert'):
        assert found[f'{branch}_feature_std'] == pytest.approx(float(every.std(0).mean()))
        assert found[f'{branch}_effective_rank'] > 3
    assert found['images'] == TRAIN + TEST
    with pytest.raises(InputError, match='to learn from and images to test on'):
        metric.compute_metrics(metric.results[:20])
    with pytest.raises(InputError, match=r'needs images with classes \(saip\.LabeledParts\)'):
        metric.process(None, [{'student': train[0], 'pid': 1}])


def test_a_collapse_is_seen_in_the_validation(data):
    """By what the hook reads of a validation's metrics."""
    _, targets, _, _ = data
    metric = KNNMetric(neighbors=5)
    samples = [
        {'student': torch.ones(32) + 1e-6 * i, 'target': int(t), 'is_test': int(i % 2)}
        for i, t in enumerate(targets)
    ]
    metric.process(None, samples)
    (spread,) = spreads_in(metric.evaluate(len(samples))).values()
    assert judge_spread(spread) == 'collapsed'


def test_features_that_are_not_finite_are_refused(data):
    train, targets, test, truth = data
    with pytest.raises(InputError, match='not finite'):
        knn_accuracy(train * math.nan, targets, test, truth)
