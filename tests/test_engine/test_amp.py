import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from saip.engine import cpu_bfloat16
from saip.engine.amp import AutocastOptimWrapper
from saip.engine.fused import fuse, skips_on_device
from saip.engine.optim import NoBiasDecayConstructor
from tests import toy_run

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.5)


def test_forward_is_bfloat16_and_weights_stay_float32(monkeypatch):
    monkeypatch.setattr(cpu_bfloat16, 'has_instructions', lambda: True)
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
    groups = NoBiasDecayConstructor(cfg)(model).optimizer.param_groups
    assert [(len(g['params']), g['weight_decay']) for g in groups] == [(1, 0.5), (3, 0.0)]
    with pytest.raises(ValueError, match='takes none'):
        NoBiasDecayConstructor(cfg, dict(bias_decay_mult=0))


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_an_optimizer_is_fused_where_all_its_parameters_lie_on_one_device(device):
    here, there = (SimpleNamespace(device=torch.device(name)) for name in (device, 'meta'))
    adamw = dict(type='AdamW', lr=1.0)
    assert fuse(adamw, [dict(params=[here, here])]) == {**adamw, 'fused': True}
    assert fuse(adamw, [dict(params=[here]), dict(params=[there])]) == adamw
    for chosen in (dict(foreach=True), dict(fused=False), dict(capturable=True)):
        assert fuse(adamw | chosen, [dict(params=[here])]) == adamw | chosen
    for kind in ('RMSprop', 'LBFGS'):  # torch has no fused form of them
        assert fuse(dict(type=kind), [dict(params=[here])]) == dict(type=kind)


@pytest.mark.parametrize(('first', 'second'), [(None, True), (True, None), (True, False)])
def test_a_stored_state_goes_on_with_the_implementation_of_the_present_device(first, second):
    def make(fused):
        torch.manual_seed(0)
        model = nn.Linear(3, 2, dtype=torch.float64)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
        return model, AutocastOptimWrapper(optimizer=optimizer, dtype='float32')

    def train(model, wrapper, first, last):
        for step in range(first, last):
            wrapper.update_params(
                model(torch.full((2, 3), 1.0 + step).double()).square().mean()
            )

    whole = make(second)
    train(*whole, 0, 6)
    begun, resumed = make(first), make(second)
    train(*begun, 0, 3)
    resumed[0].load_state_dict(begun[0].state_dict())
    resumed[1].load_state_dict(begun[1].state_dict())
    assert resumed[1].optimizer.param_groups[0]['fused'] is second
    assert skips_on_device(resumed[1].optimizer) is (second is True)
    train(*resumed, 3, 6)
    torch.testing.assert_close(resumed[0].weight, whole[0].weight, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0), dict(type='value', clip_value=1.0)])
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_bad_step_leaves_weights_and_momentum(clip, bad):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    wrapper = AutocastOptimWrapper(optimizer=optimizer, clip_grad=clip, dtype='float32')
    wrapper.update_params(model(torch.ones(2, 3)).sum())
    assert not wrapper.pop_skipped()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    wrapper.update_params(model(torch.ones(2, 3)).sum() + bad)
    assert wrapper.pop_skipped()
    assert wrapper.pop_skipped() is None
    assert torch.equal(model.weight, before[0]['weight'])
    buffer = optimizer.state[model.weight]['momentum_buffer']
    assert torch.equal(buffer, before[1]['state'][0]['momentum_buffer'])
    assert all(p.grad is None for p in model.parameters())


def test_accumulated_micro_batches_are_skipped_together():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        accumulative_counts=2,
        dtype='float32',
    )
    inputs = torch.randn(4, 5, 3)
    inputs[1, 0, 0] = float('nan')
    before = copy.deepcopy(model.state_dict())
    for number, batch in enumerate(inputs):
        with wrapper.optim_context(model):
            loss = model(batch).square().mean()
        wrapper.update_params(loss)
        same = [torch.equal(x, before[name]) for name, x in model.state_dict().items()]
        if number == 1:
            assert all(same)
    assert not any(same)
    assert model[0].num_batches_tracked == 2
