"""Logistic regression against scikit-learn, scipy's optimizer and a closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from saip.errors import InputError
from saip.evaluation.logistic import STRENGTHS, draw_labels, fit_best, fit_logistic

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


def sklearn_fit(features, targets, strength):
    """scikit-learn's regression on standardized features, and a function to these."""
    linear = pytest.importorskip('sklearn.linear_model')
    rows = features.double().numpy()
    mean, std = rows.mean(0), rows.std(0)
    model = linear.LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    model.fit((rows - mean) / std, targets.numpy())
    return model, lambda other: (other.double().numpy() - mean) / std


@pytest.mark.parametrize('classes', [2, 3])
@pytest.mark.parametrize('strength', STRENGTHS)
def test_predictions_are_those_of_scikit_learn(data, strength, classes):
    features, targets = data
    targets = targets.clamp(max=classes - 1)
    test = 3 * torch.randn(200, D)
    model, standardized = sklearn_fit(features, targets, strength)
    found = fit_logistic(features, targets, classes, strength)(test).softmax(1)
    expected = model.predict_proba(standardized(test))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert found.argmax(1).tolist() == model.predict(standardized(test)).tolist()


def test_attributes_are_those_of_scikit_learn(data):
    features, targets = data
    attributes = torch.stack([targets == 0, targets == 2], 1).float()
    found = fit_logistic(features, attributes, 2, 0.1)(features).sigmoid()
    for column in range(2):
        model, standardized = sklearn_fit(features, attributes[:, column], 0.1)
        expected = model.predict_proba(standardized(features))[:, 1]
        np.testing.assert_allclose(found[:, column].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize('classes', [2, 4])
def test_low_shot_is_that_of_scikit_learn(classes):
    """The strength is chosen by a fifth of the drawn labels, as by a grid search there."""
    metrics = pytest.importorskip('sklearn.metrics')
    generator = torch.Generator().manual_seed(classes)
    targets = torch.arange(classes).repeat(50)
    places = 1.5 * torch.randn(classes, 12, generator=generator)
    features, test = (
        places[targets] + 3 * torch.randn(len(targets), 12, generator=generator)
        for _ in range(2)
    )
    chosen = draw_labels(targets, 0.2, seed=3)
    some, labels = features[chosen], targets[chosen]
    rng = np.random.default_rng(3)
    held = np.zeros(len(labels), bool)  # two of the ten images of each class
    for label in range(classes):
        held[rng.permutation(np.flatnonzero(labels.numpy() == label))[:2]] = True
    rest = torch.from_numpy(~held)
    errors = {}
    for strength in STRENGTHS:
        model, standardized = sklearn_fit(some[rest], labels[rest], strength)
        scores = model.predict_proba(standardized(some[~rest]))
        errors[strength] = metrics.log_loss(labels[~rest], scores, labels=range(classes))
    best = min(errors, key=lambda strength: errors[strength])
    model, standardized = sklearn_fit(some, labels, best)
    found = fit_best(some, labels, classes, seed=3)(test).softmax(1)
    expected = model.predict_proba(standardized(test))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert found.argmax(1).tolist() == model.predict(standardized(test)).tolist()


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
