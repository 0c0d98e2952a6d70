"""A pretraining step with an encoder of several strides, at every size of views."""

import pytest
import torch

from saip.registry import MODELS
from tests.tiny import batch, losses, preset_config, total

SIZES = [(256, 128), (128, 64), (320, 160), (224, 224), (384, 128), (256, 192)]
CASES = [('saip', size) for size in SIZES] + [('saip-paper', (224, 224))]


def step(preset: str, size: tuple[int, int], without: tuple[str, ...] = ()) -> torch.nn.Module:
    """One forward and backward pass on two images; checks that all values are finite."""
    cfg = preset_config(preset, size=size)
    cfg.model.backbone = dict(
        type='saip.TimmEncoder', model='starnet_s1', **cfg.encoder_options
    )
    if preset == 'saip':
        local = (size[0] // 2, size[1] // 2)
        cfg.model.data_preprocessor.views.local_crops.update(number=2, size=local)
    for name in without:
        cfg.model.objectives[name] = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    terms = losses(model.train(), batch(2))
    assert {name for name in terms if name.startswith('loss')} == {
        f'loss_{name}' for name in {'csm', 'csr', 'css'} - set(without)
    }
    assert all(torch.isfinite(value).all() for value in terms.values())
    total(terms).backward()
    return model


def without_gradient(model: torch.nn.Module) -> list[str]:
    return [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not torch.isfinite(p.grad).all())
    ]


@pytest.mark.parametrize(
    ('preset', 'size'), CASES, ids=[f'{p}-{s[0]}x{s[1]}' for p, s in CASES]
)
def test_a_step_at_every_size(preset, size):
    model = step(preset, size)
    assert model.backbone.img_size == size
    assert not without_gradient(model)


@pytest.mark.parametrize('left_out', ['csm', 'csr', 'css'])
def test_each_objective_can_be_left_out(left_out):
    assert not without_gradient(step('saip', (128, 64), without=(left_out,)))
