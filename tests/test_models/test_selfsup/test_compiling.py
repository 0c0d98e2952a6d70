"""``model.compile``: the same losses from fused regions, in one graph for all sizes."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch._dynamo.utils import counters

from saip import compiling
from saip.registry import MODELS
from tests.tiny import batch, preset_config, progress, total

STEPS = 50
WARM_UP = 3
"""Steps after which nothing is compiled any more, although the scales go on changing."""


def build(compile: bool, dtype: torch.dtype = torch.float64, **options):
    """A small model whose views stay float32, with its compiling or without."""
    cfg = preset_config('saip').model
    cfg.compile = compile
    cfg.backbone.update(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    for name, child in model.named_children():
        if name != 'data_preprocessor':
            child.to(dtype)
    return model.train()


def use(backend: str, monkeypatch) -> None:
    """Let a backend make the graphs, anew, and count from here."""

    @cache
    def compiled(region):
        return torch.compile(region, fullgraph=True, dynamic=True, backend=backend)

    compiling.limit_graphs()
    monkeypatch.setattr(compiling, 'compiled', compiled)
    torch._dynamo.reset()
    counters.clear()


def losses(model, step: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Losses of a step, and the gradients of some parameters, on the CPU."""
    model.begin_step(progress(step))
    views = model.data_preprocessor(batch(2), training=True)['inputs']
    views.by_name = {
        name: replace(view, images=view.images.to(dtype))
        for name, view in views.by_name.items()
    }
    torch.manual_seed(step)  # of stochastic depth
    out = model(views, mode='loss')
    model.zero_grad()
    total(out).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [x.detach().clone() for x in (*out.values(), *gradients)]


@pytest.mark.slow
def test_no_graph_breaks_and_none_is_compiled_again_when_scales_change(monkeypatch):
    use('aot_eager', monkeypatch)
    plain, fused = build(False), build(True)
    sizes, graphs = set(), []
    for step in range(STEPS):
        found = losses(fused, step)
        graphs.append(counters['stats']['unique_graphs'])
        if step % 10 == 0:
            for ours, theirs in zip(found, losses(plain, step), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        sizes.add(step_sizes(fused, step))
    assert len(sizes) > 20
    assert graphs[-1] == graphs[WARM_UP - 1] > 0
    assert not counters['graph_break']


def step_sizes(model, step: int) -> tuple:
    """Sizes of all views of a step."""
    model.begin_step(progress(step))
    recipe, draws = model.data_preprocessor.recipe, model.data_preprocessor.draw(batch(2)).draws
    return tuple(recipe[name].sizes(draw) for name, draw in draws.items())


@pytest.mark.sampled(2)
@pytest.mark.parametrize('options', [dict(drop_path_rate=0.3), dict(layer_scale=0.1)])
def test_stochastic_depth_and_gains(options, monkeypatch):
    use('aot_eager', monkeypatch)
    plain, fused = build(False, **options), build(True, **options)
    for step in range(2):
        for ours, theirs in zip(losses(fused, step), losses(plain, step), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_files_are_the_same():
    plain, fused = build(False).state_dict(), build(True)
    assert list(plain) == list(fused.state_dict())
    fused.load_state_dict(plain)


@pytest.mark.slow
def test_compiled_kernels_compute_the_same(monkeypatch):
    use('inductor', monkeypatch)
    plain, fused = build(False, torch.float32), build(True, torch.float32)
    graphs = []
    for step in range(8):
        found = losses(fused, step, torch.float32)
        graphs.append(counters['stats']['unique_graphs'])
        for ours, theirs in zip(found, losses(plain, step, torch.float32), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert graphs[-1] == graphs[WARM_UP - 1] > 0
