"""The contrast against a restatement, in one process and in two."""

import math

import pytest
import torch
from torch import nn

from saip.errors import InputError
from saip.models.heads import SymmetricContrastiveHead
from saip.models.losses.info_nce import info_nce
from tests.processes import in_processes


def restated(queries, keys, first, temperature):
    """Row by row, as the formula says."""
    total = 0.0
    for i, query in enumerate(queries.tolist()):
        scores = []
        for key in keys.tolist():
            product = sum(a * b for a, b in zip(query, key, strict=True))
            lengths = math.sqrt(sum(a * a for a in query)) * math.sqrt(sum(b * b for b in key))
            scores.append(math.exp(product / lengths / temperature))
        total -= math.log(scores[first + i] / sum(scores))
    return total / len(queries)


@pytest.mark.parametrize(
    ('batch', 'count', 'first'), [(1, 1, 0), (3, 3, 0), (3, 9, 3), (2, 8, 6)]
)
@pytest.mark.parametrize('temperature', [0.2, 1.0])
@pytest.mark.parametrize('dims', [2, 5, 48])
def test_loss_by_the_formula(batch, count, first, temperature, dims):
    queries, keys = torch.randn(batch, dims).double(), torch.randn(count, dims).double()
    value = info_nce(queries, keys, first, temperature)
    assert float(value) == pytest.approx(restated(queries, keys, first, temperature), abs=1e-12)


def test_extremes():
    """Orthogonal images and equal views: log(1 + (B - 1) exp(-1/t)); one image costs nothing."""
    eye = 7 * torch.eye(4)
    wanted = math.log(1 + 3 * math.exp(-1 / 0.2))
    assert float(info_nce(eye, eye, 0, 0.2)) == pytest.approx(wanted, rel=1e-5)
    assert float(info_nce(eye[:1], eye[:1], 0, 0.2)) == 0
    same = torch.ones(4, 3)
    assert float(info_nce(same, same, 0, 0.2)) == pytest.approx(math.log(4))


def test_half_precision_is_widened_under_autocast():
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    with torch.autocast('cpu', torch.bfloat16):
        value = info_nce(x, y, 0, 0.2)
    assert torch.equal(value, info_nce(x, y, 0, 0.2))
    assert value.dtype == info_nce(x.bfloat16(), y.bfloat16(), 0, 0.2).dtype == torch.float32


@pytest.mark.parametrize(('batch', 'dims'), [(5, 6), (1, 6), (2, 48), (12, 3)])
def test_head_sums_both_directions_times_twice_the_temperature(batch, dims):
    one, other = torch.randn(batch, dims).double(), torch.randn(batch, dims).double()
    value = SymmetricContrastiveHead(0.3).loss(one, other)
    wanted = restated(one, other, 0, 0.3) + restated(other, one, 0, 0.3)
    assert float(value) == pytest.approx(0.6 * wanted, abs=1e-12)


def test_keys_carry_no_gradient():
    """The gradient of a view is that of its own queries."""
    one, other = (torch.randn(4, 6).double().requires_grad_() for _ in range(2))
    SymmetricContrastiveHead(0.2).loss(one, other).backward()
    (wanted,) = torch.autograd.grad(0.4 * info_nce(one, other.detach(), 0, 0.2), one)
    assert torch.allclose(one.grad, wanted, atol=1e-12)


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(InputError, match='temperature=0'):
        SymmetricContrastiveHead(0)


def features() -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    generator = torch.Generator().manual_seed(3)
    one, other = (torch.randn(8, 6, generator=generator).double() for _ in range(2))
    layer = nn.Linear(6, 5).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(5, 6, generator=generator))
        layer.bias.zero_()
    return one, other, layer


def in_one_of_two() -> list[float]:
    """Loss and gradients of a process with half of the images, averaged as DDP does."""
    torch.distributed.init_process_group('gloo')
    rank = torch.distributed.get_rank()
    one, other, layer = features()
    rows = slice(4 * rank, 4 * rank + 4)
    loss = SymmetricContrastiveHead(0.2).loss(layer(one[rows]), layer(other[rows]))
    loss.backward()
    found = torch.cat([loss.detach()[None], layer.weight.grad.flatten()])
    torch.distributed.all_reduce(found)
    torch.distributed.destroy_process_group()
    return (found / 2).tolist()


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_are_one_with_both_batches(tmp_path):
    found, other_process = in_processes(2, tmp_path, in_one_of_two)
    assert found == other_process
    one, other, layer = features()
    loss = SymmetricContrastiveHead(0.2).loss(layer(one), layer(other))
    loss.backward()
    assert found[0] == pytest.approx(float(loss), abs=1e-12)
    assert found[1:] == pytest.approx(layer.weight.grad.flatten().tolist(), abs=1e-12)
