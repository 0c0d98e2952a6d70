"""The triplet loss by hand, and what the head makes of image tokens."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample

from saip.downstream.reid import BNNeckHead
from saip.downstream.reid.loss import batch_hard_triplet


def samples(labels: list[int]) -> list[DataSample]:
    return [DataSample().set_gt_label(label) for label in labels]


def test_triplet_of_four_images_by_hand():
    """Two persons in the plane: positive and negative distances are 3-4-5 triangles."""
    a, b, c, d = [0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 12.0]
    loss = batch_hard_triplet(torch.tensor([a, b, c, d]), torch.tensor([7, 7, 2, 2]))
    # Positives: |ab| = 3, |cd| = sqrt(9 + 64). Nearest of the other person: a -> c 4,
    # b -> c 5, c -> a 4, d -> b 12.
    cd = math.sqrt(73)
    terms = [3 - 4, 3 - 5, cd - 4, cd - 12]
    expected = sum(math.log(1 + math.exp(term)) for term in terms) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_triplet_takes_the_hardest_of_several():
    rows = torch.tensor([[0.0], [1.0], [5.0], [7.0], [100.0]])
    loss = batch_hard_triplet(rows, torch.tensor([0, 0, 0, 1, 1]))
    pairs = [(5, 7), (4, 6), (5, 2), (93, 2), (93, 95)]
    expected = sum(math.log1p(math.exp(p - n)) for p, n in pairs) / 5
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_triplet_has_finite_gradients_for_equal_images_and_without_negatives():
    rows = torch.ones(4, 3, requires_grad=True)
    for labels in ([0, 0, 1, 1], [0, 0, 0, 0]):
        batch_hard_triplet(rows, torch.tensor(labels)).backward()
    assert rows.grad.isfinite().all()


def test_triplet_is_in_full_precision_under_autocast():
    torch.manual_seed(1)
    rows, labels = torch.randn(8, 64), torch.arange(8) // 2
    exact = batch_hard_triplet(rows, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(batch_hard_triplet(rows, labels), exact)


def test_losses_are_those_of_the_two_sides_of_the_norm():
    torch.manual_seed(0)
    head = BNNeckHead(num_classes=3, in_channels=6)
    head.init_weights()
    tokens, labels = torch.randn(8, 6) * 3 + 5, [0, 0, 1, 1, 2, 2, 0, 1]
    losses = head.loss((tokens,), samples(labels))
    normed = (tokens - tokens.mean(0)) / torch.sqrt(tokens.var(0, unbiased=False) + 1e-5)
    logits = normed @ head.classifier.weight.T
    expected = F.cross_entropy(logits, torch.tensor(labels))
    torch.testing.assert_close(losses['loss_id'], expected, rtol=1e-5, atol=1e-6)
    triplet = batch_hard_triplet(tokens, torch.tensor(labels))
    assert torch.equal(losses['loss_triplet'], triplet)
    assert [name for name in losses if 'loss' in name] == ['loss_id', 'loss_triplet']


def test_norm_and_classifier_have_no_bias_and_begin_as_in_the_baseline():
    head = BNNeckHead(num_classes=400, in_channels=64)
    head.init_weights()
    trained = {name for name, p in head.named_parameters() if p.requires_grad}
    assert trained == {'norm.weight', 'classifier.weight'}
    assert not head.norm.bias.any()
    assert (head.norm.weight == 1).all()
    assert head.classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)


def test_a_search_compares_the_token_before_the_norm():
    head = BNNeckHead(num_classes=3, in_channels=4).eval()
    tokens = torch.randn(2, 4)
    predicted = head.predict((tokens,), samples([0, 1]))
    assert torch.equal(torch.stack([p.feature for p in predicted]), tokens)
    assert torch.equal(head.predict((tokens,))[1].feature, tokens[1])
