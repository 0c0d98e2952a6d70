"""Ratio-weighted cross-entropy against hand-computed values and plain loops."""

import math

import pytest
import torch

from saip.downstream.attributes.loss import RatioWeightedBCE, ratio_weights

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


def loss_with(ratio):
    loss = RatioWeightedBCE(len(ratio))
    loss.set_ratio(ratio)
    return loss


def test_four_images_by_hand():
    # Probabilities 1/2, 3/4 and 1/4 have the logits 0, ln 3 and -ln 3.
    logits = torch.tensor([[0.0, LN3], [LN3, 0.0], [-LN3, -LN3], [LN3, LN3]])
    truth = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    rare, half = (
        math.exp(0.75),
        math.exp(0.5),
    )  # a positive label of ratio 1/4; any of ratio 1/2
    common = math.exp(0.25)  # a negative label of ratio 1/4
    images = [
        rare * LN2 + half * LN4,
        rare * (LN4 - LN3) + half * LN2,
        common * (LN4 - LN3) + half * (LN4 - LN3),
        common * LN4 + half * (LN4 - LN3),
    ]
    loss = loss_with([0.25, 0.5])
    assert loss.per_image(logits, truth).tolist() == pytest.approx(images)
    assert loss(logits, truth, avg_factor=4).item() == pytest.approx(sum(images) / 4)


def test_against_plain_loops():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(7, 5, generator=generator) * 3
    truth = (torch.rand(7, 5, generator=generator) < 0.3).float()
    truth[:, 2] = 0
    ratio = [0.1, 0.9, 0.0, 0.5, 1.0]
    total = 0.0
    for scores, labels in zip(logits.tolist(), truth.tolist(), strict=True):
        for score, label, share in zip(scores, labels, ratio, strict=True):
            probability = 1 / (1 + math.exp(-score))
            if label == 1:
                total -= math.exp(1 - share) * math.log(probability)
            else:
                total -= math.exp(share) * math.log(1 - probability)
    found = loss_with(ratio)(logits, truth, avg_factor=7)
    assert found.item() == pytest.approx(total / 7, rel=1e-5)


def test_equal_shares_weigh_all_labels_alike():
    truth = torch.tensor([[1.0, 0.0]])
    weights = ratio_weights(truth, torch.tensor([0.5, 0.5]))
    assert weights.tolist() == [pytest.approx([math.exp(0.5)] * 2)]


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.randn(3, 26).bfloat16()
    truth = torch.ones(3, 26)
    loss = loss_with([0.2] * 26).per_image(logits, truth)
    assert loss.dtype == torch.float32
    expected = math.exp(0.8) * torch.log1p(torch.exp(-logits.double())).sum(1)
    assert loss.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_without_ratios_it_says_what_sets_them():
    loss = RatioWeightedBCE(2)
    assert not loss.ready
    with pytest.raises(ValueError, match=r'saip\.PositiveRatioHook'):
        loss(torch.zeros(1, 2), torch.zeros(1, 2), avg_factor=1)


def test_ratios_come_with_a_checkpoint():
    loss = RatioWeightedBCE(2)
    loss.load_state_dict(loss_with([0.25, 1.0]).state_dict())
    assert loss.ready
    assert loss.positive_ratio.tolist() == [0.25, 1.0]
