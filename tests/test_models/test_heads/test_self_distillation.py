import math

import pytest
import torch
import torch.nn.functional as F

from saip.models.heads import SelfDistillationHead
from saip.models.losses.self_distillation import self_distillation


def plain_loss(predictions, targets, same_view):
    """DINO's double loop over views, one log-softmax per pair."""
    total, pairs = 0.0, 0
    for t, q in enumerate(targets):
        for v, scores in enumerate(predictions):
            if same_view.get(v) == t:
                continue
            total = total + (-q * F.log_softmax(scores, -1)).sum(-1).mean()
            pairs += 1
    return total / pairs


@pytest.mark.parametrize(
    ('views', 'targets', 'same_view'),
    [(10, 2, {0: 0, 1: 1}), (1, 2, {}), (2, 1, {}), (4, 2, {2: 0}), (2, 2, {0: 0, 1: 1})],
)
def test_loss_and_gradient_equal_the_double_loop(views, targets, same_view):
    torch.manual_seed(0)
    scores = (torch.randn(views, 3, 17, dtype=torch.float64) * 5).requires_grad_()
    q = (torch.randn(targets, 3, 17, dtype=torch.float64) * 5).softmax(-1)
    ours = self_distillation(scores.flatten(0, 1), q.flatten(0, 1), same_view, views)
    plain = plain_loss(scores, q, same_view)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(
        torch.autograd.grad(ours, scores)[0], torch.autograd.grad(plain, scores)[0]
    )


def test_uniform_scores_give_ln_k():
    head = SelfDistillationHead(out_channels=64)
    out = head.loss(torch.zeros(6, 64), torch.zeros(4, 64), {0: 0, 1: 1}, 3)
    assert out['loss'].item() == pytest.approx(math.log(64), rel=1e-6)
    assert out['entropy'].item() == pytest.approx(math.log(64), rel=1e-6)


def test_center_follows_the_mean_target_once_per_update():
    head = SelfDistillationHead(out_channels=8, center_momentum=0.9)
    first, second = torch.randn(4, 8), torch.randn(4, 8)
    for targets in (first, second):  # two accumulated micro-batches
        head.loss(torch.zeros(6, 8), targets, {}, 3)
    assert not head.center.any()
    head.update_center()
    expected = 0.1 * torch.cat([first, second]).mean(0, keepdim=True)
    torch.testing.assert_close(head.center, expected)
    head.update_center()
    torch.testing.assert_close(head.center, expected)


def test_center_and_temperature_shape_the_target():
    head = SelfDistillationHead(out_channels=3, student_temp=1.0, teacher_temp=0.5)
    head.center.copy_(torch.tensor([[1.0, 0.0, 0.0]]))
    out = head.loss(torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 0.5]]), {}, 1)
    q = torch.tensor([0.0, 0.0, 1.0]).softmax(-1)
    assert out['entropy'].item() == pytest.approx(-(q * q.log()).sum().item(), rel=1e-6)
