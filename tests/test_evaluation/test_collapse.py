"""Collapse statistics against closed forms, and verdicts on synthetic features."""

from __future__ import annotations

import math

import pytest
import torch

from saip.evaluation.collapse import (
    describe_spread,
    feature_spread,
    judge_scores,
    judge_spread,
)


def gaussian(samples, dims, seed=0):
    return torch.randn(samples, dims, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('shape', [(300, 192), (50, 192), (400, 64)])
def test_equals_second_implementation(shape):
    features = gaussian(*shape) * torch.linspace(0.1, 3, shape[1]) + 0.5
    unit = (features / features.norm(dim=1, keepdim=True)).double()
    values = torch.linalg.svdvals(unit)
    share = values / values.sum()
    cosine = unit @ unit.T
    different = ~torch.eye(len(unit), dtype=torch.bool)

    spread = feature_spread(features)

    assert spread.effective_rank == pytest.approx(
        float(torch.exp(-(share * share.log()).sum())), rel=1e-4
    )
    assert spread.mean_cosine == pytest.approx(float(cosine[different].mean()), abs=1e-6)
    assert spread.std == pytest.approx(float(unit.std(dim=0).mean()), rel=1e-4)


def test_orthogonal_features_have_closed_forms():
    spread = feature_spread(5 * torch.eye(8))

    assert spread.effective_rank == pytest.approx(8)
    assert spread.mean_cosine == pytest.approx(0)
    assert spread.std == pytest.approx(1 / math.sqrt(8))
    assert spread.healthy_std == pytest.approx(1 / math.sqrt(8))


def test_constant_features():
    spread = feature_spread(torch.ones(30, 16))

    assert spread.std == pytest.approx(0, abs=1e-7)
    assert spread.effective_rank == pytest.approx(1, abs=1e-3)
    assert spread.mean_cosine == pytest.approx(1)


@pytest.mark.parametrize('dims', [64, 192, 768])
@pytest.mark.parametrize('samples', [100, 1000])
@pytest.mark.parametrize(
    ('make', 'verdict'),
    [
        (lambda x: x, 'healthy'),
        (lambda x: x.relu(), 'healthy'),
        # All images share half of their feature, as in an untrained network.
        (lambda x: x + 1, 'healthy'),
        (lambda x: x * torch.arange(1, x.shape[1] + 1) ** -0.5, 'healthy'),
        (lambda x: x[:, :12] @ gaussian(12, x.shape[1], seed=1), 'healthy'),
        (lambda x: x[:, :2] @ gaussian(2, x.shape[1], seed=1), 'collapsed'),
        (lambda x: 1 + 0.05 * x, 'collapsed'),
        (lambda x: 1 + 1e-4 * x, 'collapsed'),
        (lambda x: torch.ones_like(x), 'collapsed'),
    ],
    ids=[
        'gauss',
        'relu',
        'shifted',
        'decaying',
        'rank-12',
        'rank-2',
        '5%',
        '0.01%',
        'constant',
    ],
)
def test_verdicts(dims, samples, make, verdict):
    assert judge_spread(feature_spread(make(gaussian(samples, dims)))) == verdict


def test_too_few_images_give_no_verdict():
    assert judge_spread(feature_spread(torch.ones(4, 192))) is None


@pytest.mark.parametrize(('samples', 'dims'), [(20, 192), (200, 16)])
def test_few_images_or_dimensions_are_no_collapse(samples, dims):
    assert judge_spread(feature_spread(gaussian(samples, dims))) == 'healthy'
    assert judge_spread(feature_spread(torch.ones(samples, dims))) == 'collapsed'


def test_message_holds_the_numbers():
    spread = feature_spread(1 + 0.04 * gaussian(500, 192))

    text = describe_spread('student', judge_spread(spread), spread)

    assert text.startswith('student: features have collapsed, all images get nearly the same')
    assert 'standard deviation 0.0029 against 0.072 for healthy features of 192' in text


@pytest.mark.parametrize(
    ('score_std', 'loss_share', 'verdict'),
    [
        (0.0, 1.0, 'uniform'),
        (0.05, 1.0, 'uniform'),
        (1.5, 0.99, 'healthy'),
        (4.0, 0.7, 'healthy'),
        # A sharp teacher with something left to learn is no collapse.
        (60.0, 0.3, 'healthy'),
    ],
)
def test_scores_of_gaussian_logits(score_std, loss_share, verdict):
    prototypes = 4096
    probabilities = (score_std * gaussian(64, prototypes)).softmax(dim=1)
    entropy = float(torch.special.entr(probabilities).sum(dim=1).mean())

    assert judge_scores(entropy, prototypes, loss_share * math.log(prototypes)) == verdict


def test_single_prototype():
    assert judge_scores(1e-4, 4096, 1e-3) == 'single'


def test_one_image_is_refused():
    with pytest.raises(ValueError, match='at least two images'):
        feature_spread(torch.ones(1, 4))
