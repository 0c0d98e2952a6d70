"""Linear probes against scipy's minimizers, and places against hand-computed cases."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from saip.evaluation.probes import (
    fit_patch_probe,
    fit_place_probe,
    patch_shares,
    place_targets,
    read_places,
)


def log_softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    top = scores.max(axis=axis, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(axis=axis, keepdims=True))


def standardized(tokens: torch.Tensor) -> np.ndarray:
    array = tokens.double().numpy()
    return (array - array.mean((0, 1))) / array.std((0, 1))


def test_a_patch_probe_is_the_minimum_that_scipy_finds():
    tokens = torch.randn(6, 8, 4) * torch.tensor([1.0, 5.0, 0.1, 2.0]) + 3
    shares = torch.rand(6, 8, 3).softmax(dim=2)
    probe = fit_patch_probe(tokens, shares, penalty=0.02)
    x, y = standardized(tokens), shares.numpy()

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[:12].reshape(4, 3), flat[12:].reshape(8, 3)
        entropy = -(y * log_softmax(x @ weight + bias, 2)).sum(2).mean()
        return entropy + 0.01 * ((weight**2).sum() + (bias**2).sum() / 8)

    expected = minimize(loss, np.zeros(36), tol=1e-12).x
    np.testing.assert_allclose(probe.weight.numpy().flatten(), expected[:12], atol=1e-4)
    np.testing.assert_allclose(probe.bias.numpy().flatten(), expected[12:], atol=2e-4)


def test_a_place_probe_is_the_minimum_that_scipy_finds():
    tokens, labeled = torch.randn(5, 6, 3), torch.rand(5, 2) < 0.7
    targets = torch.randn(5, 2, 6).softmax(dim=2)
    probe = fit_place_probe(tokens, targets, labeled, penalty=0.05)
    x, y, known = standardized(tokens), targets.numpy(), labeled.numpy()

    def loss(flat: np.ndarray) -> float:
        weight, bias = flat[:6].reshape(3, 2), flat[6:].reshape(6, 2)
        chances = log_softmax(x @ weight + bias, 1).transpose(0, 2, 1)  # (N, L, K) -> (N, K, L)
        entropy = -(y * chances).sum(2)[known].mean()
        return entropy + 0.025 * ((weight**2).sum() + (bias**2).sum() / 6)

    expected = minimize(loss, np.zeros(18), tol=1e-12).x
    np.testing.assert_allclose(probe.weight.numpy().flatten(), expected[:6], atol=1e-4)
    np.testing.assert_allclose(probe.bias.numpy().flatten(), expected[6:], atol=2e-4)


def test_tokens_that_say_nothing_give_the_mean_of_each_place():
    shares = torch.rand(50, 6, 3).softmax(dim=2)
    probe = fit_patch_probe(torch.zeros(50, 6, 1), shares, penalty=1e-6)
    found = probe(torch.zeros(1, 6, 1)).softmax(dim=2)[0]
    torch.testing.assert_close(found.float(), shares.mean(0), atol=1e-3, rtol=0)


def test_what_is_not_annotated_teaches_nothing():
    tokens, targets = torch.randn(4, 6, 3), torch.randn(4, 2, 6).softmax(dim=2)
    labeled = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    other = targets.clone()
    other[~labeled] = torch.randn(2, 6).softmax(dim=1)
    one, two = (fit_place_probe(tokens, each, labeled) for each in (targets, other))
    assert torch.equal(one.weight, two.weight)


def test_probes_do_not_depend_on_the_scale_of_the_tokens():
    tokens, shares = torch.randn(4, 8, 5), torch.rand(4, 8, 3).softmax(dim=2)
    one = fit_patch_probe(tokens, shares)(tokens)
    two = fit_patch_probe(100 * tokens + 7, shares)(100 * tokens + 7)
    torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)


def test_a_constant_channel_is_harmless():
    tokens, shares = torch.randn(4, 8, 5), torch.rand(4, 8, 3).softmax(dim=2)
    tokens[..., 2] = 4.0
    probe = fit_patch_probe(tokens, shares)
    assert probe.weight.isfinite().all()
    assert float(probe.weight[2].abs().max()) < 1e-6


def test_separable_patches_are_learnt():
    labels = torch.randint(0, 3, (8, 10))
    tokens = torch.eye(3)[labels] + 0.1 * torch.randn(8, 10, 3)
    probe = fit_patch_probe(tokens, torch.eye(3)[labels])
    assert torch.equal(probe(tokens).argmax(2), labels)


def test_tokens_that_are_not_finite_are_refused():
    tokens = torch.full((2, 3, 4), torch.nan)
    with pytest.raises(ValueError, match='patch tokens are not finite'):
        fit_patch_probe(tokens, torch.ones(2, 3, 2))
    with pytest.raises(ValueError, match='at least one that is annotated'):
        fit_place_probe(tokens, torch.ones(2, 1, 3), torch.zeros(2, 1, dtype=torch.bool))


def test_shares_are_those_of_the_pixels():
    labels = torch.tensor([[[0, 1, 2, 2], [1, 1, 2, 2], [0, 0, 0, 2], [0, 0, 2, 2]]])
    shares = patch_shares(labels, 3, (2, 2))[0]
    assert shares.tolist() == [[0.25, 0.75, 0], [0, 0, 1], [1, 0, 0], [0.25, 0, 0.75]]


def test_targets_are_bilinear():
    grid = (2, 4)
    points = torch.tensor([[[0.375, 0.25], [0.5, 0.25], [0.25, 0.5], [0.0, 1.0]]])
    expected = torch.zeros(1, 4, 8)
    expected[0, 0, 1] = 1  # the center of a patch
    expected[0, 1, 1:3] = 0.5
    expected[0, 2, [0, 1, 4, 5]] = 0.25
    expected[0, 3, 4] = 1  # beyond the centers: the patch at the corner
    torch.testing.assert_close(place_targets(points, grid), expected)


def test_targets_are_read_where_they_are():
    grid = (8, 4)
    points = torch.rand(3, 5, 2) * 0.7 + 0.15
    scores = place_targets(points, grid).clamp(min=1e-12).log().transpose(1, 2)
    torch.testing.assert_close(read_places(scores, grid), points, atol=1e-5, rtol=0)


def test_only_patches_around_the_best_are_averaged():
    scores = torch.full((1, 12, 1), -50.0)  # a grid of 3 x 4
    scores[0, 0, 0] = 1.0  # the best, at the upper left
    scores[0, 5, 0] = 1.0 - np.log(3)  # below and to the right of it, a third as likely
    scores[0, 11, 0] = 0.9  # the lower right corner: too far away
    found = read_places(scores, (3, 4))[0, 0]
    expected = [0.75 * 0.125 + 0.25 * 0.375, 0.75 / 6 + 0.25 / 2]
    torch.testing.assert_close(found, torch.tensor(expected))
