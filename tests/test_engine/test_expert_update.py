import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from saip.engine.amp import AutocastOptimWrapper
from saip.engine.hooks.expert_update import ExpertUpdateHook, FreezePrototypesHook
from saip.engine.optim import MatrixDecayConstructor
from saip.engine.schedules import cosine
from saip.models.objectives import CrossScaleAlignment

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def test_cosine_end_points_and_middle():
    assert cosine(0, 100, 0.996, 1.0) == 0.996
    assert cosine(100, 100, 0.996, 1.0) == 1.0
    assert cosine(50, 100, 0.0, 1.0) == pytest.approx(0.5)
    assert cosine(25, 100, 0.0, 1.0) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert cosine(500, 100, 0.996, 1.0) == 1.0
    with pytest.raises(ValueError, match='at least one step'):
        cosine(0, 0, 0, 1)


class Recorder(nn.Module):
    """Stands in for the algorithm; keeps the momenta it is moved by."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.expert = SimpleNamespace(steps=torch.zeros((), dtype=torch.long))
        self.momenta = []

    def update_expert(self, momentum):
        self.momenta.append(momentum)


def run(hook, accumulated: int, iterations: int, per_epoch: int = 100):
    model = Recorder()
    wrapper = AutocastOptimWrapper(
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1), accumulative_counts=accumulated
    )
    wrapper.initialize_count_status(model, 0, iterations)
    runner = SimpleNamespace(
        model=model,
        optim_wrapper=wrapper,
        max_iters=iterations,
        iter=0,
        message_hub=MessageHub.get_instance('expert'),
    )
    hook.before_train(runner)
    for i in range(iterations):
        wrapper.update_params(model.weight.sum())
        hook.after_train_iter(runner, i % per_epoch)
    return model.momenta


def test_accumulation_moves_the_expert_once_per_optimizer_step():
    momenta = run(ExpertUpdateHook(), accumulated=4, iterations=40)
    assert momenta == [cosine(step, 10, 0.996, 1.0) for step in range(10)]
    assert momenta[0] == 0.996


def test_the_last_incomplete_accumulation_counts():
    assert len(run(ExpertUpdateHook(), accumulated=4, iterations=10)) == 3


def test_the_release_moves_it_every_micro_batch_and_starts_again_every_epoch():
    momenta = run(ExpertUpdateHook(schedule='epoch'), 4, 30, per_epoch=10)
    assert len(momenta) == 30
    assert momenta[:10] == momenta[10:20] == [cosine(i, 30, 0.996, 1.0) for i in range(10)]


def test_wrong_schedule_is_refused():
    with pytest.raises(ValueError, match="choose 'run' or 'epoch'"):
        ExpertUpdateHook(schedule='step')


def test_prototypes_stay_for_the_first_epoch():
    model = nn.Module()
    model.neck = nn.Module()
    model.neck.prototypes = nn.Parameter(torch.ones(3))
    model.objectives = {'csm': model}
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, epoch=0)
    FreezePrototypesHook(epochs=1).before_train(runner)
    wrapper.update_params(model.neck.prototypes.sum())
    assert torch.equal(model.neck.prototypes, torch.ones(3))
    runner.epoch = 1
    wrapper.update_params(model.neck.prototypes.sum())
    torch.testing.assert_close(model.neck.prototypes.detach(), torch.full((3,), 0.9))


def test_without_prototypes_the_hook_stops_the_run_before_it_starts():
    csm = CrossScaleAlignment(
        encoder=SimpleNamespace(embed_dims=8),
        expert=SimpleNamespace(embed_dims=6),
        neck=dict(type='saip.AlignmentProjector', hidden_channels=4, bottleneck_channels=4),
        head=dict(type='saip.AlignmentHead'),
        num_multires=2,
    )
    model = nn.Module()
    model.objectives = nn.ModuleDict({'csm': csm})
    message = 'FreezePrototypesHook: CrossScaleAlignment .* has no prototypes.* custom_hooks'
    with pytest.raises(ValueError, match=message):
        FreezePrototypesHook().before_train(SimpleNamespace(model=model))
    model.objectives = nn.ModuleDict({'csr': csm})
    FreezePrototypesHook().before_train(SimpleNamespace(model=model))


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
