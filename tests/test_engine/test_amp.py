import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from saip.engine.amp import AutocastOptimWrapper
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
