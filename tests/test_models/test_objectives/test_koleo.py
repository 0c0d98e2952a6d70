import math

import pytest
import torch

from saip.models.losses.koleo import koleo_loss


def test_hand_computed_distances():
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    # On the circle every nearest neighbor is sqrt(2) away.
    assert koleo_loss(features).item() == pytest.approx(-math.log(2**0.5))


def test_gradient_drives_close_features_apart():
    features = torch.tensor([[1.0, 0.01], [1.0, -0.01], [-1.0, 0.0]], requires_grad=True)
    koleo_loss(features).backward()
    assert features.grad[0, 1] < 0 < features.grad[1, 1]


def test_neighbors_of_nearly_collapsed_features_are_found_under_autocast():
    torch.manual_seed(0)
    features = torch.randn(1, 64) + 0.03 * torch.randn(32, 64)
    with torch.autocast('cpu', torch.bfloat16):
        half = koleo_loss(features)
    assert half.item() == pytest.approx(koleo_loss(features).item(), abs=1e-4)
