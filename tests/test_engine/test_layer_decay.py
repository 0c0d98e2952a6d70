"""Learning rates that decay with depth, by hand; against mmpose in tests/test_downstream."""

import pytest
from mmengine.config import Config
from mmengine.model import BaseModule
from torch import nn

from saip.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from tests.tiny import ROOT, settings_of

BASE, DECAY = 1e-3, 0.1


class Estimator(BaseModule):
    """A model that, like those of all libraries but mmpretrain, knows no depths."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(4, 2)


def wrapper(backbone: nn.Module, **paramwise: object):
    """The optimizer wrapper of a model with this backbone, and its model."""
    cfg = dict(
        type='saip.LayerDecayConstructor',
        optim_wrapper_cfg=dict(optimizer=dict(type='AdamW', lr=BASE, weight_decay=DECAY)),
        paramwise_cfg=dict(flat_decay_mult=0.0, **paramwise),
    )
    model = Estimator(backbone)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(cfg)(model), model


def rates(backbone: nn.Module, **paramwise: object) -> dict[str, tuple[float, float]]:
    built, model = wrapper(backbone, **paramwise)
    return settings_of(built.optimizer, model)


def encoder_config(name: str) -> Config:
    return Config.fromfile(ROOT / f'configs/_base_/backbones/{name}.py').backbone


def encoder(name: str) -> nn.Module:
    return MODELS.build(encoder_config(name))


def test_rates_of_four_blocks_follow_the_closed_form():
    found = rates(encoder('vit-4blocks-p16'), layer_decay_rate=0.5)
    # Six layers: the embeddings, four blocks, the final norm and the head.
    expected = {
        'backbone.cls_token': (BASE / 32, DECAY),
        'backbone.pos_embed': (BASE / 32, DECAY),
        'backbone.patch_embed.projection.weight': (BASE / 32, DECAY),
        'backbone.patch_embed.projection.bias': (BASE / 32, 0),
        'backbone.layers.0.attn.qkv.weight': (BASE / 16, DECAY),
        'backbone.layers.1.ln1.weight': (BASE / 8, 0),
        'backbone.layers.2.ffn.layers.1.bias': (BASE / 4, 0),
        'backbone.layers.3.ffn.layers.1.weight': (BASE / 2, DECAY),
        'backbone.ln1.weight': (BASE, 0),
        'head.weight': (BASE, DECAY),
        'head.bias': (BASE, 0),
    }
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair), name


@pytest.mark.parametrize('name', ['starnet-s3', 'tinyvit-5m'])
def test_encoders_with_stages_decay_by_their_own_depths(name):
    backbone = encoder(name)
    found = rates(backbone, layer_decay_rate=0.5)
    for key, parameter in backbone.named_parameters():
        if not parameter.requires_grad:  # which only the image token reads
            assert f'backbone.{key}' not in found
            continue
        depth, layers = backbone.get_layer_depth(key)
        decay = DECAY if parameter.ndim > 1 else 0
        expected = (BASE * 0.5 ** (layers - 1 - depth), decay)
        assert found[f'backbone.{key}'] == pytest.approx(expected), key


def test_parameters_that_are_treated_alike_share_a_group():
    built, _ = wrapper(encoder('vit-4blocks-p16'), layer_decay_rate=0.5)
    assert len(built.optimizer.param_groups) == 12  # six layers, with weight decay and without
    built, _ = wrapper(encoder('starnet-s3'), layer_decay_rate=1.0)
    groups = [(g['lr'], g['weight_decay']) for g in built.optimizer.param_groups]
    assert sorted(groups) == [(BASE, 0), (BASE, DECAY)]


def test_custom_keys_are_kept():
    keys = dict(pos_embed=dict(decay_mult=0.0))
    found = rates(encoder('vit-4blocks-p16'), custom_keys=keys)
    assert found['backbone.pos_embed'] == (BASE, 0)
    assert found['backbone.cls_token'] == (BASE, DECAY)


def pyramid(kind: str, name: str) -> nn.Module:
    return MODELS.build(dict(type=kind, encoder=encoder_config(name)))


def test_the_layers_of_a_pyramid_follow_those_of_its_encoder():
    found = rates(pyramid('saip.FeaturePyramid', 'vit-4blocks-p16'), layer_decay_rate=0.5)
    # Six layers: the embeddings, four blocks, and all that follows them.
    expected = {
        'backbone.encoder.pos_embed': (BASE / 32, DECAY),
        'backbone.encoder.patch_embed.projection.weight': (BASE / 32, DECAY),
        'backbone.encoder.layers.0.attn.qkv.weight': (BASE / 16, DECAY),
        'backbone.encoder.layers.3.ln2.bias': (BASE / 2, 0),
        'backbone.encoder.ln1.weight': (BASE, 0),
        'backbone.levels.0.0.weight': (BASE, DECAY),
        'backbone.levels.1.bias': (BASE, 0),
        'head.weight': (BASE, DECAY),
    }
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair), name


def test_the_norms_of_a_pyramid_of_blocks_follow_its_encoder():
    found = rates(pyramid('saip.BlockPyramid', 'vit-4blocks-p16'), layer_decay_rate=0.5)
    assert found['backbone.encoder.layers.1.attn.qkv.weight'] == (BASE / 8, DECAY)
    assert found['backbone.norms.0.weight'] == (BASE, 0)


@pytest.mark.parametrize('name', ['starnet-s3', 'tinyvit-5m'])
def test_stages_decay_within_a_pyramid_as_without_one(name):
    alone = rates(encoder(name), layer_decay_rate=0.5)
    within = rates(pyramid('saip.FeaturePyramid', name), layer_decay_rate=0.5)
    prefix = 'backbone.encoder.'
    # A pyramid reads the encoder's maps, not its image token: it learns less of the encoder.
    assert {n for n in within if n.startswith('backbone.')} == {
        n for n in within if n.startswith(prefix)
    }
    for key, pair in within.items():
        if key.startswith(prefix):
            assert pair == alone[f'backbone.{key.removeprefix(prefix)}'], key
    assert within['head.weight'] == (BASE, DECAY)
    assert min(rate for rate, _ in within.values()) < BASE / 8


def test_a_backbone_without_depths_is_refused():
    with pytest.raises(
        ValueError, match=r"LayerDecayConstructor needs .*'Linear' object has no attribute"
    ):
        wrapper(nn.Linear(2, 2), layer_decay_rate=0.5)
