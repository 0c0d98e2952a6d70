"""Two-view recall on cases with known answers."""

from __future__ import annotations

import pytest
import torch

from saip.evaluation import TwoViewRecall, two_view
from saip.evaluation.two_view import two_view_recall


@pytest.mark.parametrize('block', [1, 10, 10**6])
def test_both_directions_by_brute_force(monkeypatch, block):
    monkeypatch.setattr(two_view, 'BLOCK_ELEMENTS', block)
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(25, 6, generator=generator)
    second = first + 0.7 * torch.randn(25, 6, generator=generator)
    cosine = torch.nn.functional.cosine_similarity(
        first.double()[:, None], second.double()[None], dim=2
    )
    own = torch.arange(25)
    forward = (cosine.argmax(dim=1) == own).double().mean()
    backward = (cosine.argmax(dim=0) == own).double().mean()

    recall = two_view_recall(first, second)

    assert forward != backward
    assert recall == pytest.approx(50 * float(forward + backward))


def test_hand_computed_directions():
    # From the first views, both images are nearest to second view 0; from the second views
    # each finds its own.
    first = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    second = torch.tensor([[0.99, 0.1], [0.0, 1.0]])

    assert two_view_recall(first, second) == 75


def test_equal_views_score_100_and_constant_features_0():
    features = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))

    assert two_view_recall(features, 3 * features) == 100
    assert two_view_recall(torch.ones(40, 16), torch.ones(40, 16)) == 0


def test_metric():
    metric = TwoViewRecall()
    features = torch.eye(4)
    metric.process(
        None,
        [
            {'student': torch.stack([f, f]), 'expert': torch.ones(2, 4), 'index': i}
            for i, f in enumerate(features)
        ],
    )

    report = metric.evaluate(4)

    assert report['two_view/student_recall@1'] == 100
    assert report['two_view/expert_recall@1'] == 0
    assert report['two_view/chance'] == 25
    assert report['two_view/student_mean_cosine'] == pytest.approx(0)


def test_metric_names_the_metric_for_labeled_images():
    with pytest.raises(ValueError, match=r'saip\.RetrievalMetric'):
        TwoViewRecall().process(None, [{'student': torch.ones(4), 'index': 0}])


@pytest.mark.parametrize(
    ('first', 'second', 'message'),
    [((3, 5), (3, 4), 'equally shaped'), ((1, 4), (1, 4), 'at least two images, got 1')],
)
def test_shapes_that_do_not_fit(first, second, message):
    with pytest.raises(ValueError, match=message):
        two_view_recall(torch.ones(first), torch.ones(second))


def test_metric_without_any_image_that_could_be_read():
    metric = TwoViewRecall()
    metric.process(None, [{'student': torch.ones(2, 4), 'index': 0, 'replaced': 3}])
    with pytest.raises(ValueError, match='none of the held-back images could be read'):
        metric.evaluate(1)
