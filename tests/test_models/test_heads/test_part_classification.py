"""The loss of SOLIDER's parts against a restatement, in one process and in two."""

import math

import pytest
import torch
import torch.distributed as dist

from saip.models.heads import PartClassificationHead
from saip.models.heads import part_classification_head as head_module
from tests.processes import in_processes


@pytest.mark.parametrize(('images', 'tokens', 'classes'), [(1, 1, 2), (4, 8, 3), (7, 32, 5)])
@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_head_restated(images, tokens, classes, share):
    """Mean over the tokens of an image, its weight, mean over the images that count."""
    generator = torch.Generator().manual_seed(images)
    scores = 3 * torch.randn(images, tokens, classes, generator=generator).double()
    labels = torch.randint(0, classes, (images, tokens), generator=generator)
    weight = torch.rand(images, generator=generator).double()
    kept = (torch.arange(images) < math.ceil(share * images)).double()
    terms, count = 0.0, 0
    for i in kept.nonzero()[:, 0].tolist():
        rows = zip(scores[i].tolist(), labels[i].tolist(), strict=True)
        errors = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
        terms += float(weight[i]) * sum(errors) / tokens
        count += 1
    assert count == math.ceil(share * images)
    found = PartClassificationHead().loss(scores, labels, kept, weight)['loss']
    assert float(found) == pytest.approx(terms / max(count, 1), rel=1e-12)


def weighted(rank_of: int = 0, world: int = 1) -> tuple[float, float, float]:
    """Loss and gradient of a share of eight images, of which the first three are kept."""
    generator = torch.Generator().manual_seed(4)
    scores = torch.randn(8, 5, 4, generator=generator)[rank_of::world].requires_grad_()
    labels = torch.randint(0, 4, (8, 5), generator=generator)[rank_of::world]
    kept = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0])[rank_of::world]
    weight = torch.tensor([1.0, 0.5, 0.2, 1, 1, 1, 1, 1])[rank_of::world]
    out = PartClassificationHead().loss(scores, labels, kept, weight)
    out['loss'].backward()
    return float(out['loss']), float(scores.grad.abs().sum()), float(out['accuracy'])


def in_a_group() -> tuple[float, float, float]:
    dist.init_process_group('gloo')
    result = weighted(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()
    return result


def test_kept_images_are_counted_over_all_processes(monkeypatch):
    """Emulated: each of two shares learns what the mean of both counts is."""
    loss, gradient, accuracy = weighted()
    assert loss > 0
    counts: list[torch.Tensor] = []
    monkeypatch.setattr(head_module.dist, 'all_reduce', lambda x, op: counts.append(x.clone()))
    for rank in range(2):
        weighted(rank, 2)
    mean = torch.stack(counts).mean(0)
    assert mean[0] == 1.5
    monkeypatch.setattr(head_module.dist, 'all_reduce', lambda x, op: x.copy_(mean))
    both = [weighted(rank, 2) for rank in range(2)]
    assert sum(each[0] for each in both) / 2 == pytest.approx(loss, rel=1e-6)
    assert sum(each[1] for each in both) / 2 == pytest.approx(gradient, rel=1e-6)
    assert [each[2] for each in both] == pytest.approx([accuracy] * 2)


@pytest.mark.slow
@pytest.mark.dist
def test_processes_with_different_numbers_of_kept_images_give_the_loss_of_one(tmp_path):
    loss, gradient, accuracy = weighted()
    assert loss > 0
    both = in_processes(2, tmp_path, in_a_group)
    assert sum(each[0] for each in both) / 2 == pytest.approx(loss, rel=1e-6)
    assert sum(each[1] for each in both) / 2 == pytest.approx(gradient, rel=1e-6)
    assert [each[2] for each in both] == pytest.approx([accuracy] * 2)


def test_cosines_that_are_all_equal_cost_the_log_of_the_classes():
    out = PartClassificationHead().loss(
        torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), torch.ones(2), torch.ones(2)
    )
    assert float(out['loss']) == pytest.approx(math.log(4))
