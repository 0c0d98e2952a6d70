"""Logistic regression against scipy's optimizer on the same objective, and a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from saip.errors import InputError
from saip.evaluation.logistic import draw_labels, fit_best, fit_logistic

N, D, C = 40, 5, 3


@pytest.fixture(scope='module')
def data():
    torch.manual_seed(0)
    targets = torch.randint(C, (N,))
    return torch.randn(N, D) * torch.tensor([1.0, 5, 0.2, 1, 1]) + targets[:, None], targets


@pytest.mark.parametrize('strength', [0.01, 1.0, 100.0])
def test_weights_are_those_of_scipy(data, strength):
    """The objective of scikit-learn's LogisticRegression, minimized by another optimizer."""
    features, targets = data
    rows = features.double().numpy()
    x = (rows - rows.mean(0)) / rows.std(0)
    hot = np.eye(C)[targets.numpy()]

    def objective(flat):
        weight, bias = flat[: D * C].reshape(D, C), flat[D * C :]
        scores = x @ weight + bias
        scores -= scores.max(1, keepdims=True)
        logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        error = np.exp(logs) - hot
        value = -strength * (hot * logs).sum() + (weight**2).sum() / 2
        slope = np.concatenate(
            [(strength * x.T @ error + weight).ravel(), strength * error.sum(0)]
        )
        return value, slope

    expected = minimize(
        objective, np.zeros(D * C + C), jac=True, method='BFGS', options={'gtol': 1e-9}
    ).x
    found = fit_logistic(features, targets, C, strength)
    weight, bias = expected[: D * C].reshape(D, C), expected[D * C :]
    np.testing.assert_allclose(found.weight.numpy(), weight, atol=2e-4)
    # All biases may move together without any change.
    np.testing.assert_allclose(
        found.bias.numpy() - found.bias.numpy().mean(), bias - bias.mean(), atol=2e-4
    )


def test_features_that_say_nothing_give_the_frequencies():
    targets = torch.tensor([0] * 6 + [1] * 3 + [2])
    model = fit_logistic(torch.ones(10, 4), targets, 3, 1.0)
    chances = model(torch.ones(1, 4)).softmax(1)[0]
    torch.testing.assert_close(
        chances, torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), atol=1e-5, rtol=0
    )


def test_attributes_have_a_regression_each(data):
    features, targets = data
    attributes = torch.stack([targets == 0, targets == 2], 1).float()
    both = fit_logistic(features, attributes, 2, 1.0)(features)
    for column in range(2):
        alone = fit_logistic(features, attributes[:, column : column + 1], 1, 1.0)(features)
        torch.testing.assert_close(both[:, column], alone[:, 0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize('share', [0.01, 0.1, 0.5, 1.0])
def test_each_class_gets_its_share_and_at_least_one_image(share):
    targets = torch.arange(3).repeat_interleave(20)
    chosen = draw_labels(targets, share, seed=1)
    assert torch.bincount(targets[chosen]).tolist() == [max(1, round(20 * share))] * 3
    assert len(set(chosen.tolist())) == len(chosen)
    assert torch.equal(chosen, draw_labels(targets, share, seed=1))
    if share < 1:
        assert not torch.equal(chosen, draw_labels(targets, share, seed=2))


def test_attributes_are_drawn_alike():
    assert len(draw_labels(torch.zeros(200, 4), 0.05, 0)) == 10


def test_the_strength_is_chosen_by_labels_that_were_held_back():
    """With noise for features a strong penalty is best; with the labels themselves a weak one."""
    torch.manual_seed(0)
    targets = torch.arange(2).repeat(30)
    noise = fit_best(torch.randn(60, 20), targets, 2, seed=0)
    clear = fit_best(targets[:, None] + 0.01 * torch.randn(60, 1), targets, 2, seed=0)
    assert noise.weight.abs().max() < 0.1
    assert clear.weight.abs().max() > 2
    assert (clear(targets[:, None].float()).argmax(1) == targets).all()
    single = fit_best(torch.randn(2, 3), torch.tensor([0, 1]), 2, seed=0)
    assert single.weight.isfinite().all()


def test_features_that_are_not_finite_are_refused(data):
    features, targets = data
    with pytest.raises(InputError, match='not finite'):
        fit_logistic(features * math.inf, targets, C, 1.0)
