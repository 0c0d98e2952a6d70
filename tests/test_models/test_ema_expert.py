"""Moving averages of weights and of BatchNorm statistics, against their closed forms."""

import pytest
import torch
from torch import nn

from saip.models.backbones import TimmEncoder
from saip.models.experts import DECAY, EMAExpert
from tests.tiny import build


class Student(nn.Module):
    embed_dims = dense_dims = patch_stride = 1

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def set(self, value):
        for tensor in (*self.parameters(), self.norm.running_mean, self.norm.running_var):
            tensor.data.fill_(value)
        self.norm.num_batches_tracked.fill_(int(10 * value))


@pytest.fixture
def student():
    return Student()


@pytest.fixture
def expert(student):
    made = EMAExpert(student)
    made.follow({'backbone': student, 'dense_norm': nn.Identity()})
    made.copy_from_student()
    return made


def polynomial(values):
    """Polynomial-decay average: value k of t weighs k(k+1)(k+2)(k+3) over their sum."""
    assert DECAY == 4
    weights = [k * (k + 1) * (k + 2) * (k + 3) for k in range(1, len(values) + 1)]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def test_statistics_start_as_a_mean_that_forgets_the_start(student, expert):
    momentum, start = 0.996, student.norm.weight[0].item()
    values = [3.0, 5.0, 4.0, 7.5, 0.5, 6.0]
    for step, value in enumerate(values, start=1):
        student.set(value)
        expert.update(momentum)
        norm = expert.backbone.norm
        expected = torch.full((2,), polynomial(values[:step]))
        torch.testing.assert_close(norm.running_mean, expected)
        torch.testing.assert_close(norm.running_var, expected)
        assert norm.num_batches_tracked == int(10 * value)
        # Weights keep the exact moving average from their first value on.
        start = momentum * start + (1 - momentum) * value
        torch.testing.assert_close(norm.weight, torch.full((2,), start))
    assert expert.steps == len(values)


def test_statistics_follow_the_momentum_once_it_is_slower(student, expert):
    momentum = 0.9
    # 5 / (t + 4) falls below 0.1 after step 46.
    expert.steps.fill_(46)
    expert.backbone.norm.running_mean.fill_(2.0)
    student.set(12.0)
    expert.update(momentum)
    torch.testing.assert_close(expert.backbone.norm.running_mean, torch.full((2,), 3.0))
    expert.steps.fill_(5)
    expert.update(momentum)
    torch.testing.assert_close(expert.backbone.norm.running_mean, torch.full((2,), 7.5))


def test_an_expert_without_statistics_is_a_plain_average():
    model = build()
    floating = [x for x in model.expert.backbone.buffers() if x.is_floating_point()]
    assert floating == []
    model.expert.update(0.5)
    assert model.expert.steps == 1


def test_values_that_a_network_derives_from_its_weights_are_renewed():
    """TinyViT keeps its attention biases in eval mode, where the expert always is."""
    torch.manual_seed(0)
    student = TimmEncoder('tiny_vit_5m_224')
    expert = EMAExpert(student)
    expert.follow({'backbone': student, 'dense_norm': nn.Identity()})
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expert.encoder().encode(images)
        for name, parameter in student.named_parameters():
            if name.endswith('attention_biases'):
                parameter.normal_(std=3)
    expert.update(0.0)
    with torch.no_grad():
        found = expert.encoder().encode(images).patch_tokens
        torch.testing.assert_close(found, student.eval().encode(images).patch_tokens)
