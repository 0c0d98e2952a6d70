"""Every encoder trains with every objective, and says so where it cannot."""

from itertools import chain, combinations

import pytest
import torch
from mmengine.config import Config

from saip.registry import MODELS
from tests.tiny import ROOT, SMALL_FRAGMENTS, batch, losses, preset_config, total

OBJECTIVES = ('csm', 'csr', 'css')
SUBSETS = list(chain.from_iterable(combinations(OBJECTIVES, n) for n in (1, 2, 3)))


def build(path, preset, only=OBJECTIVES, **options):
    """A preset with small views and decoders and the encoder of a fragment."""
    cfg = preset_config(preset, size=(128, 64))
    views = cfg.model.data_preprocessor.views
    views.scene.size = (96, 96)
    if 'local_crops' in views:
        views.local_crops.update(number=2, size=(64, 32))
    if 'extra_local_crop' in views:
        views.extra_local_crop.size = (64, 32)
    cfg.model.backbone = Config.fromfile(path).backbone | cfg.encoder_options | options
    for name in cfg.model.objectives:
        if name not in only:
            cfg.model.objectives[name] = None
    torch.manual_seed(0)
    try:
        model = MODELS.build(cfg.model)
    except ImportError as error:
        pytest.skip(str(error))
    model.init_weights()
    return model.train()


def idle(model):
    """Trainable parameters that a step left without a finite gradient."""
    return [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.isfinite().all())
    ]


@pytest.mark.parametrize('preset', ['saip', 'saip-paper'])
@pytest.mark.parametrize('path', SMALL_FRAGMENTS, ids=lambda path: path.stem)
def test_two_steps_of_two_images(path, preset):
    depthless = dict(drop_path_rate=0.0) if path.stem == 'cspnext-s' else {}
    model = build(path, preset, **depthless)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    before = {k: v.clone() for k, v in model.backbone.named_parameters()}
    for step in range(2):
        terms = losses(model, batch(2, first=2 * step), step)
        assert {f'loss_{name}' for name in OBJECTIVES} <= set(terms)
        assert all(value.isfinite().all() for value in terms.values())
        optimizer.zero_grad()
        total(terms).backward()
        assert idle(model) == []
        optimizer.step()
        model.after_optimizer_step(torch.tensor(False))
    unmoved = [k for k, v in model.backbone.named_parameters() if torch.equal(v, before[k])]
    # A weight may get a gradient of zero (behind a norm that starts at 0) but not most of them.
    assert len(unmoved) < len(before) / 4
    assert all(value.isfinite().all() for value in model.expert.state_dict().values())


@pytest.mark.parametrize('stem', ['starnet-s3', 'tinyvit-5m'])
@pytest.mark.parametrize('subset', SUBSETS, ids='+'.join)
def test_a_subset_leaves_no_parameter_idle(subset, stem):
    model = build(ROOT / f'configs/_base_/backbones/{stem}.py', 'saip', only=subset)
    terms = losses(model, batch(2))
    assert {name for name in terms if 'loss' in name} == {f'loss_{name}' for name in subset}
    total(terms).backward()
    assert idle(model) == []
    # Without an image token the last map is read, and TinyViT's norm behind its pooling rests.
    assert model.backbone.dense_is_final is ('csm' not in subset)
    frozen = [n for n, p in model.backbone.named_parameters() if not p.requires_grad]
    rests = stem == 'tinyvit-5m' and 'csm' not in subset
    assert frozen == [f'timm_model.head.norm.{x}' for x in ('weight', 'bias') if rests]


def test_a_subset_of_the_paper_preset_leaves_no_parameter_idle():
    path = ROOT / 'configs/_base_/backbones/tinyvit-5m.py'
    model = build(path, 'saip-paper', only=('csr',))
    total(losses(model, batch(2))).backward()
    assert idle(model) == []


@pytest.mark.parametrize('stem', ['starnet-s3', 'tinyvit-5m', 'resnet18', 'edgenext-s'])
def test_the_official_preset_needs_a_vit(stem):
    path = ROOT / f'configs/_base_/backbones/{stem}.py'
    with pytest.raises(
        ValueError, match=r'preset saip-official \(its objective `relation`\) needs'
    ):
        build(path, 'saip-official', only=(*OBJECTIVES, 'relation'))


def test_the_relation_objective_needs_a_vit():
    cfg = preset_config('saip-official')
    cfg.model.backbone = dict(type='saip.TimmEncoder', model='resnet18')
    with pytest.raises(
        ValueError, match=r'relation objective .* needs a ViT; TimmEncoder has no'
    ):
        MODELS.build(cfg.model)
