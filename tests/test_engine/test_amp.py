import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from saip.engine.amp import AutocastOptimWrapper
from saip.engine.optim import MatrixDecayConstructor
from tests import toy_run

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.5)


def test_forward_is_bfloat16_and_weights_stay_float32():
    model = nn.Linear(4, 2)
    wrapper = AutocastOptimWrapper(optimizer=sgd(model))
    with wrapper.optim_context(model):
        out = model(torch.randn(3, 4))
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32


@pytest.mark.parametrize('counts', [1, 2])
def test_accumulation_and_clipping_equal_the_parent(counts):
    ours, theirs = nn.Linear(4, 1), nn.Linear(4, 1)
    theirs.load_state_dict(ours.state_dict())
    options = dict(accumulative_counts=counts, clip_grad=dict(max_norm=0.1))
    pairs = [
        (ours, AutocastOptimWrapper(optimizer=sgd(ours), **copy.deepcopy(options))),
        (theirs, OptimWrapper(optimizer=sgd(theirs), **copy.deepcopy(options))),
    ]
    inputs = torch.randn(4, 3, 4)
    for batch in inputs:
        for model, wrapper in pairs:
            wrapper.update_params(model(batch).square().mean())
    torch.testing.assert_close(ours.weight, theirs.weight)
    norm = pairs[0][1].pop_gradient_norm()
    assert norm is not None
    assert norm.item() > 0.1
    assert pairs[0][1].pop_gradient_norm() is None


def test_a_run_learns_and_logs_the_gradient_norm(tmp_path):
    cfg = Config(toy_run.config(str(tmp_path / 'work')))
    cfg.optim_wrapper.update(type='saip.AutocastOptimWrapper', clip_grad=dict(max_norm=5.0))
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert losses[4] < losses[0]  # the same batch, two epochs later
    assert len(runner.message_hub.get_scalar('train/grad_norm').data[0]) == 6


def test_each_tensor_can_be_clipped_by_itself():
    weights = [nn.Parameter(torch.zeros(2)) for _ in range(2)]
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(weights, lr=1.0),
        clip_grad=dict(type='per_tensor', max_norm=1.0),
    )
    loss = (weights[0] * torch.tensor([3.0, 4.0])).sum() + weights[1].sum() * 0.1
    wrapper.update_params(loss)
    torch.testing.assert_close(weights[0].detach(), torch.tensor([-0.6, -0.8]))
    torch.testing.assert_close(weights[1].detach(), torch.tensor([-0.1, -0.1]))
    assert wrapper.pop_gradient_norm().item() == pytest.approx((25 + 0.02) ** 0.5)


def test_only_matrices_decay_and_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3))
    model[2].requires_grad_(False)
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5))
    groups = MatrixDecayConstructor(cfg)(model).optimizer.param_groups
    assert [(len(g['params']), g['weight_decay']) for g in groups] == [(1, 0.5), (3, 0.0)]
    with pytest.raises(ValueError, match='takes none'):
        MatrixDecayConstructor(cfg, dict(bias_decay_mult=0))
