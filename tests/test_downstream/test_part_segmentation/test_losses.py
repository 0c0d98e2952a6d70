"""Each loss against sums over single pixels, written down again from its definition."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from mmseg.datasets import GenerateEdge

from saip.downstream.part_segmentation.losses import (
    consistency_loss,
    edge_loss,
    lovasz_loss,
    part_edges,
    part_loss,
    refined_loss,
)

IGNORED = 255


@pytest.fixture
def logits():
    return torch.randn(2, 4, 5, 3, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def labels():
    """Class 3 is absent; some pixels are ignored."""
    labels = torch.randint(0, 3, (2, 5, 3))
    labels[0, 0] = IGNORED
    labels[1, 4, 2] = IGNORED
    return labels


def pixels(logits, labels):
    """(class probabilities, label) of every pixel that is not ignored."""
    rows = logits.detach().permute(0, 2, 3, 1).flatten(0, 2).tolist()
    for row, label in zip(rows, labels.flatten().tolist(), strict=True):
        if label != IGNORED:
            total = sum(math.exp(value) for value in row)
            yield [math.exp(value) / total for value in row], label


def jaccard_loss(wrong: set[int], members: set[int]) -> float:
    """1 - IoU of a class with these members if exactly these pixels are classified wrongly."""
    return 1 - len(members - wrong) / len(members | wrong)


def lovasz_extension(errors: list[float], members: set[int]) -> float:
    """The integral over t of the Jaccard loss of the pixels whose error is at least t."""
    levels = sorted({0.0, *errors})
    return sum(
        (upper - lower) * jaccard_loss({i for i, e in enumerate(errors) if e >= upper}, members)
        for lower, upper in pairwise(levels)
    )


def test_lovasz(logits, labels):
    rows = list(pixels(logits, labels))
    terms = []
    for part in {label for _, label in rows}:
        errors = [abs((label == part) - row[part]) for row, label in rows]
        members = {i for i, (_, label) in enumerate(rows) if label == part}
        terms.append(lovasz_extension(errors, members))
    found = lovasz_loss(logits, labels, IGNORED)
    assert len(terms) == 3
    assert found.item() == pytest.approx(sum(terms) / 3, rel=1e-6)


def test_lovasz_of_a_perfect_and_of_a_wrong_prediction():
    labels = torch.tensor([[[0, 1], [1, 1]]])
    sure = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2) * 100.0
    assert lovasz_loss(sure, labels, IGNORED).item() == pytest.approx(0, abs=1e-6)
    assert lovasz_loss(-sure, labels, IGNORED).item() == pytest.approx(1, abs=1e-6)


def test_ignored_pixels_get_no_gradient(logits, labels):
    valid = labels != IGNORED
    total = lovasz_loss(logits, labels, IGNORED)
    total += refined_loss(logits, torch.randn_like(logits), labels, 0.3, valid)
    total.backward()
    given = logits.grad.abs().sum(1) > 0
    assert torch.equal(given, valid)


def test_part_loss_is_the_mean_over_the_pixels_that_count(logits, labels):
    costs = [-math.log(row[label]) for row, label in pixels(logits, labels)]
    expected = sum(costs) / len(costs)
    assert part_loss(logits, labels, IGNORED).item() == pytest.approx(expected, rel=1e-6)


def test_a_batch_to_ignore_costs_nothing(logits):
    labels = torch.full((2, 5, 3), IGNORED)
    total = lovasz_loss(logits, labels, IGNORED)
    total += part_loss(logits, labels, IGNORED)
    total += edge_loss(logits[:, :2], torch.ones_like(labels), labels != IGNORED)
    total += refined_loss(logits, logits.detach(), labels, 0.3, labels != IGNORED)
    total += consistency_loss(logits, logits[:, :2], labels, IGNORED)
    total.backward()
    assert total.item() == 0
    assert not logits.grad.any()


def test_edge_loss_weighs_a_pixel_by_the_share_of_the_other_class():
    logits = torch.randn(1, 2, 2, 5, dtype=torch.float64)
    edges = torch.tensor([[[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]])  # 3 of 10
    costs = {0: [], 1: []}
    for row, label in pixels(logits, edges):
        costs[label].append(-math.log(row[label]))
    expected = (0.3 * sum(costs[0]) + 0.7 * sum(costs[1])) / (0.3 * 7 + 0.7 * 3)
    everywhere = torch.ones_like(edges, dtype=torch.bool)
    found = edge_loss(logits, edges, everywhere)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_edge_loss_without_a_part_of_the_image_is_that_of_the_rest():
    logits = torch.randn(1, 2, 4, 5)
    edges = torch.randint(0, 2, (1, 4, 5))
    valid = torch.zeros(1, 4, 5, dtype=torch.bool)
    valid[:, 1:3, 2:] = True
    part = logits[:, :, 1:3, 2:], edges[:, 1:3, 2:], valid[:, 1:3, 2:]
    torch.testing.assert_close(edge_loss(logits, edges, valid), edge_loss(*part))


def test_edge_loss_without_edges_is_zero():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    edges = torch.zeros(1, 3, 3, dtype=torch.long)
    loss = edge_loss(logits, edges, edges == 0)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(('over_classes', 'divisor'), [('sum', 1), ('mean', 4)])
def test_refined_loss(logits, labels, over_classes, divisor):
    ema_logits = torch.randn_like(logits)
    share = 0.25
    rows = logits.detach().permute(0, 2, 3, 1).flatten(0, 2).tolist()
    softs = ema_logits.permute(0, 2, 3, 1).flatten(0, 2).tolist()
    terms = []
    for row, soft, label in zip(rows, softs, labels.flatten().tolist(), strict=True):
        if label == IGNORED:
            continue
        mixed = [0.75 * value + 0.25 * (part == label) for part, value in enumerate(soft)]
        target = [math.exp(v) / sum(map(math.exp, mixed)) for v in mixed]
        guess = [math.exp(v) / sum(map(math.exp, row)) for v in row]
        terms.append(sum(t * math.log(t / g) for t, g in zip(target, guess, strict=True)))
    valid = labels != IGNORED
    found = refined_loss(logits, ema_logits, labels, share, valid, over_classes)
    assert found.item() == pytest.approx(sum(terms) / len(terms) / divisor)


def test_refined_loss_of_one_pixel_by_hand():
    """Target (3/4, 1/4), prediction (1/2, 1/2): 3/4 log(3/2) + 1/4 log(1/2)."""
    logits = torch.zeros(1, 2, 1, 1)
    earlier = torch.tensor([2 * (math.log(3) - 0.5), 0.0]).view(1, 2, 1, 1)
    labels, valid = (
        torch.zeros(1, 1, 1, dtype=torch.long),
        torch.ones(1, 1, 1, dtype=torch.bool),
    )
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert refined_loss(logits, earlier, labels, 0.5, valid).item() == pytest.approx(expected)
    halved = refined_loss(logits, earlier, labels, 0.5, valid, 'mean').item()
    assert halved == pytest.approx(expected / 2)


def test_labels_are_not_changed(logits, labels):
    before = labels.clone()
    refined_loss(logits, logits.detach(), labels, 0.5, labels != IGNORED)
    consistency_loss(logits, logits[:, :2], labels, IGNORED)
    assert torch.equal(labels, before)


def test_edges_are_those_of_mmsegmentation():
    labels = torch.randint(0, 3, (4, 12, 9)).repeat_interleave(3, 1).repeat_interleave(4, 2)
    labels[:, 20:24, 10:] = IGNORED
    expected = []
    for one in labels.numpy().astype(np.uint8):
        results = {'img_shape': one.shape, 'gt_seg_map': one}
        expected.append(GenerateEdge(edge_width=3)(results)['gt_edge_map'])
    found = part_edges(labels, IGNORED)
    assert 0.1 < found.float().mean() < 0.9
    assert np.array_equal(found.numpy(), np.stack(expected))


def test_edge_of_two_halves():
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[..., 3:] = 1
    assert part_edges(labels, IGNORED)[0].tolist() == [[0, 1, 1, 1, 1, 0]] * 4


def test_consistency_is_the_share_of_edges_that_the_edge_branch_misses():
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    parts = torch.zeros(1, 2, 4, 6)
    parts[:, 1, :, 3:] = 1.0  # predicted: two halves, so an edge in columns 1 to 4
    edges = torch.zeros(1, 2, 4, 6)
    edges[:, 1, :, 1] = math.log(3)  # probability 3/4 there, 1/2 elsewhere
    edges.requires_grad_()
    found = consistency_loss(parts, edges, labels, IGNORED)
    assert found.item() == pytest.approx((0.25 + 0.5 + 0.5 + 0.5) / 4)
    found.backward()
    assert (edges.grad[:, 1, :, 1:5] < 0).all()
    assert not edges.grad[..., 0].any()
    assert not edges.grad[..., 5].any()


def test_consistency_leaves_ignored_pixels_out():
    labels = torch.zeros(1, 4, 6, dtype=torch.long)
    labels[:, :, 3:] = IGNORED
    parts = torch.zeros(1, 2, 4, 6)
    parts[:, 1, :, 3:] = 1.0  # the only edge touches ignored pixels
    found = consistency_loss(parts, torch.zeros(1, 2, 4, 6), labels, IGNORED)
    assert found.item() == 0
