"""Maps of four blocks of a plain ViT, against mmpretrain's own network."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import VisionTransformer

from saip.checkpoint import WeightsError, export_backbone
from saip.engine.layer_decay import LayerDecayConstructor
from saip.errors import InputError
from saip.registry import MODELS
from tests.tiny import settings_of

ARCH = dict(embed_dims=48, num_layers=12, num_heads=3, feedforward_channels=96)
VIT = dict(type='saip.ViTEncoder', arch=ARCH, feature_level=0, img_size=(96, 64))


def build(**changes):
    encoder = {**VIT, **changes}
    pyramid = MODELS.build(dict(type='saip.TapPyramid', encoder=encoder))
    pyramid.init_weights()
    return pyramid


def doubled(x, layer):
    """A 2x2 deconvolution of stride 2, cell by cell: no cell reaches into another."""
    grown = torch.einsum('bchw,cdij->bdhiwj', x, layer.weight)
    return grown.flatten(4, 5).flatten(2, 3) + layer.bias.view(1, -1, 1, 1)


@torch.no_grad()
@pytest.mark.parametrize(
    ('depth', 'taps'), [(12, [3, 5, 7, 11]), (24, [7, 11, 15, 23]), (4, [0, 1, 1, 3])]
)
def test_the_maps_are_those_of_the_published_blocks(depth, taps):
    arch = dict(ARCH, num_layers=depth)
    pyramid = build(arch=arch).eval()
    norm = pyramid.levels[0][1]
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    stock = VisionTransformer(
        dict(arch),
        img_size=(96, 64),
        patch_size=16,
        out_indices=sorted({*taps}),
        out_type='featmap',
        final_norm=False,
    )
    stock.eval()  # which returns None
    own = pyramid.encoder.state_dict()
    stock.load_state_dict({key: own[key] for key in stock.state_dict()})
    images = torch.randn(2, 3, 96, 64)
    maps = dict(zip(sorted({*taps}), stock(images), strict=True))
    first, second, third, last = (maps[tap] for tap in taps)
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    normed = F.batch_norm(doubled(first, pyramid.levels[0][0]), *statistics)
    expected = (
        doubled(F.gelu(normed), pyramid.levels[0][3]),
        doubled(second, pyramid.levels[1]),
        third,
        last.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5)),
    )
    found = pyramid(images)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert [96 // x.shape[2] for x in found] == [4, 8, 16, 32]
    assert [x.shape[1] for x in found] == pyramid.pyramid_channels


def test_every_trainable_parameter_gets_a_gradient_and_no_norm_is_read():
    pyramid = build()
    sum(x.square().mean() for x in pyramid(torch.randn(1, 3, 64, 64))).backward()
    trained = {name for name, p in pyramid.named_parameters() if p.requires_grad}
    named = dict(pyramid.named_parameters())
    assert trained == {name for name, p in named.items() if p.grad is not None}
    assert named.keys() - trained == {'encoder.ln1.weight', 'encoder.ln1.bias'}


@torch.no_grad()
@pytest.mark.parametrize(
    'options',
    [{}, dict(layer_scale=0.1), dict(layer_scale=0.1, relative_position=True)],
    ids=['folded', 'kept', 'with a bias'],
)
def test_weights_of_a_pretraining_arrive_and_give_the_same_maps(options, tmp_path):
    """Gains are kept or folded; a relative position bias begins at zero."""
    source = build(layer_scale=0.1).eval()
    for layer in source.encoder.layers:
        layer.attn.gamma1.weight.uniform_(0.05, 0.5)
        layer.ffn.gamma2.weight.uniform_(0.05, 0.5)
    state = {f'backbone.{key}': x for key, x in source.encoder.state_dict().items()}
    meta = {'architecture': source.encoder.architecture()}
    file = export_backbone({'state_dict': state, 'meta': meta}, tmp_path, formats=('pth',))
    found = dict(type='Pretrained', checkpoint=str(file), prefix='backbone.')
    target = build(**options, init_cfg=found).eval()
    target.levels.load_state_dict(source.levels.state_dict())
    images = torch.randn(2, 3, 96, 64)
    for ours, theirs in zip(target(images), source(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    missing = {key: x for key, x in state.items() if 'ln1' not in key}
    torch.save({'state_dict': missing, 'meta': meta}, tmp_path / 'less.pth')
    less = dict(found, checkpoint=str(tmp_path / 'less.pth'))
    with pytest.raises(WeightsError, match='ln1'):
        build(**options, init_cfg=less)


def test_rates_decay_from_block_to_block_and_new_layers_have_the_whole_rate():
    model = torch.nn.ModuleDict(dict(backbone=build(), head=torch.nn.Linear(48, 2)))
    wrapper = LayerDecayConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05)),
        dict(layer_decay_rate=0.65),
    )(model)
    settings = settings_of(wrapper.optimizer, model)
    rates = {name: rate for name, (rate, _) in settings.items()}
    assert rates['head.weight'] == rates['backbone.levels.0.1.weight'] == 1
    for block in range(12):
        name = f'backbone.encoder.layers.{block}.attn.qkv.weight'
        assert rates[name] == pytest.approx(0.65 ** (12 - block))
    assert rates['backbone.encoder.cls_token'] == pytest.approx(0.65**13)


def test_what_has_no_such_maps_is_refused():
    with pytest.raises(InputError, match=r'has stages .* saip\.FeaturePyramid'):
        MODELS.build(
            dict(
                type='saip.TapPyramid', encoder=dict(type='saip.TimmEncoder', model='resnet18')
            )
        )
    with pytest.raises(InputError, match='4 maps of an encoder with 3 blocks'):
        build(arch=dict(ARCH, num_layers=3))
    with pytest.raises(InputError, match=r'patches of 8 pixels .* 16 is needed'):
        build(patch_size=8)
    with pytest.raises(InputError, match='belongs one level deeper'):
        MODELS.build(
            dict(
                type='saip.TapPyramid',
                encoder=VIT,
                init_cfg=dict(type='Pretrained', checkpoint='a.pth'),
            )
        )
