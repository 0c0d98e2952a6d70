"""Encoders that are told λ: what it does to their norms, and that a fixed λ folds away."""

import math

import pytest
import torch
from torch import nn

from saip.checkpoint.controller import fold_controller, without_controller
from saip.errors import InputError
from saip.models.backbones import build_encoder
from saip.registry import MODELS
from saip.structures import EncodeRequest, Outputs
from tests.tiny import ARCH

SIZE = (64, 32)
PAPER = {  # the encoders of the paper's comparison
    'vit-tiny': dict(type='saip.ViTEncoder', arch='deit-tiny'),
    'starnet-s3': dict(type='saip.TimmEncoder', model='starnet_s3', out_type='image_token'),
    'tinyvit-5m': dict(
        type='saip.TimmEncoder', model='tiny_vit_5m_224', out_type='image_token'
    ),
}
ENCODERS = {
    'vit-4blocks': dict(type='saip.ViTEncoder', arch=ARCH, feature_level=2),
    'starnet': dict(type='saip.TimmEncoder', model='starnet_s050', out_type='image_token'),
    'tinyvit': dict(type='saip.TimmEncoder', model='tiny_vit_5m_224', out_type='image_token'),
}
SWIN = dict(
    type='saip.OpenMMLabEncoder',
    model=dict(
        type='SwinTransformer',
        arch=dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8]),
        out_indices=(0, 1, 2, 3),
        pad_small_map=True,
    ),
    libraries=('mmpretrain',),
    out_type='image_token',
)
ALL = Outputs(image_token=True, patch_tokens=True, dense=True)


def make(name: str, controller: dict | None = None, **options):
    """An encoder in double precision whose norms and controller are not at their beginnings."""
    torch.manual_seed(0)
    cfg = {**(PAPER | ENCODERS | {'swin': SWIN})[name], 'img_size': SIZE, **options}
    encoder = MODELS.build({**cfg, 'controller': controller}).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.double)
            parameter.add_(0.05 * noise)
        for key, buffer in encoder.named_buffers():
            if key.endswith('running_var'):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return encoder


def images(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, *SIZE, generator=generator, dtype=torch.double)


def encode(encoder, batch, condition=None, outputs=ALL, keep=None):
    request = EncodeRequest(batch, outputs, keep, condition)
    (features,) = encoder.encode_requests([request])
    return features


def tensors(features) -> list[torch.Tensor]:
    return [
        features.final.image_token,
        features.final.patch_tokens,
        features.dense.patch_tokens,
    ]


@pytest.mark.parametrize(
    ('name', 'condition'),
    [*((name, 0.2) for name in PAPER), ('vit-4blocks', 0.0), ('starnet', 1.0)],
)
def test_a_folded_condition_is_the_unfolded_one(name, condition):
    encoder, plain = make(name, {}), make(name)
    stock = build_encoder(without_controller(encoder.architecture())).double().eval()
    assert stock.state_dict().keys() == plain.state_dict().keys()
    folded = fold_controller(encoder.state_dict(), encoder.stages, condition)
    stock.load_state_dict(folded, strict=True)
    told = torch.full((3,), condition, dtype=torch.double)
    expected = tensors(encode(encoder, images(), told))
    for found, wanted in zip(tensors(encode(stock, images())), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    # Folded in single precision, as files are; both networks then round as much again.
    single = fold_controller(encoder.float().state_dict(), encoder.stages, condition)
    stock.float().load_state_dict(single)
    exact = stock.double()
    for found, wanted in zip(tensors(encode(exact, images())), expected, strict=True):
        assert (found - wanted).abs().max() < 1e-6 * wanted.abs().max()


@pytest.mark.parametrize('name', [*ENCODERS, 'swin'])
def test_every_image_of_a_batch_follows_its_own_condition(name):
    encoder, batch = make(name, {'condition': 0.5}), images()
    told = torch.tensor([0.0, 0.3, 1.0], dtype=torch.double)
    mixed = tensors(encode(encoder, batch, told))
    for i, value in enumerate(told):
        alone = tensors(encode(encoder, batch[i : i + 1], value[None]))
        for found, expected in zip(mixed, alone, strict=True):
            torch.testing.assert_close(found[i : i + 1], expected)
    # And the condition does something.
    other = tensors(encode(encoder, batch, 1 - told))
    assert all((x - y).abs().max() > 1e-4 for x, y in zip(mixed, other, strict=True))


@pytest.mark.parametrize('name', [*ENCODERS, 'swin'])
def test_the_default_is_taken_wherever_nothing_is_told(name):
    encoder, batch = make(name, {'condition': 0.3}), images()
    told = torch.full((3,), 0.3, dtype=torch.double)
    expected = encode(encoder, batch, told)
    for found, wanted in zip(tensors(encode(encoder, batch)), tensors(expected), strict=True):
        assert torch.equal(found, wanted)
    stride = max(encoder.map_channels)
    (last,) = encoder.feature_maps(batch, [stride])
    torch.testing.assert_close(
        last.flatten(2).transpose(1, 2),
        expected.final.patch_tokens.reshape(3, -1, last.shape[1]),
    )
    if name.startswith('vit'):  # the stock class's own pass, which other libraries call
        (output,) = encoder(batch)
        torch.testing.assert_close(output, last)
    else:
        torch.testing.assert_close(encoder(batch)[0], expected.final.image_token)


def test_requests_with_and_without_a_condition_pass_together():
    """Different sizes, depths, masks and conditions in one call of a ViT."""
    encoder, batch = make('vit-4blocks', {}), images()
    keep = torch.tensor([[0, 3], [5, 6], [2, 7]])
    told = torch.tensor([0.0, 1.0, 0.4], dtype=torch.double)
    requests = [
        EncodeRequest(batch, Outputs(image_token=True), keep, told),
        EncodeRequest(batch[..., :16], Outputs(dense=True), None, told),
        EncodeRequest(batch, Outputs(patch_tokens=True, relations=True)),
    ]
    together = encoder.encode_requests(requests)
    for request, found in zip(requests, together, strict=True):
        (alone,) = encoder.encode_requests([request])
        for level in ('final', 'dense'):
            ours, theirs = getattr(found, level), getattr(alone, level)
            assert (ours is None) is (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours.image_token, theirs.image_token)
    torch.testing.assert_close(
        together[2].relations.query_key,
        encode(encoder, batch, None, Outputs(relations=True)).relations.query_key,
    )


@pytest.mark.parametrize('name', ['starnet', 'tinyvit'])
def test_masked_images_are_folded_alike(name):
    """Hidden cells have the same values, since the controller sees visible cells only."""
    encoder = make(name, {})
    stock = build_encoder(without_controller(encoder.architecture())).double().eval()
    stock.load_state_dict(fold_controller(encoder.state_dict(), encoder.stages, 0.7))
    keep = torch.tensor([[0, 3, 4], [5, 6, 7], [1, 2, 7]])
    told = torch.full((3,), 0.7, dtype=torch.double)
    ours = tensors(encode(encoder, images(), told, keep=keep))
    theirs = tensors(encode(stock, images(), keep=keep))
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_formula_on_the_norms_of_a_vit():
    """softplus(W v) x + B v with v = (λ, 1 - λ), restated on what hooks see."""
    encoder, batch, value = make('vit-4blocks', {}), images(1), 0.3
    assert [stage.norms for stage in encoder.stages] == [
        (f'layers.{i}.ln1', f'layers.{i}.ln2') for i in (1, 2, 3)
    ]
    seen: dict[str, torch.Tensor] = {}
    layer = encoder.layers[2]
    layer.ln1.register_forward_hook(lambda m, x, out: seen.update(normed=out.detach()))
    layer.attn.qkv.register_forward_hook(lambda m, x, out: seen.update(read=x[0].detach()))
    encode(encoder, batch, torch.tensor([value], dtype=torch.double))
    scale, shift = encoder.controller.scales[1], encoder.controller.shifts[1]

    def linear(of: nn.Linear, channel: int) -> float:
        row = of.weight[channel].tolist()
        return row[0] * value + row[1] * (1 - value) + of.bias[channel].item()

    for channel in (0, 7, 47):
        gain = math.log1p(math.exp(linear(scale, channel)))
        expected = gain * seen['normed'][:, channel] + linear(shift, channel)
        torch.testing.assert_close(seen['read'][:, channel], expected)


def test_a_controller_begins_near_log_2_and_none_changes_nothing():
    torch.manual_seed(0)
    plain = MODELS.build({**ENCODERS['vit-4blocks'], 'img_size': SIZE})
    plain.init_weights()
    torch.manual_seed(0)
    told = MODELS.build({**ENCODERS['vit-4blocks'], 'img_size': SIZE, 'controller': {}})
    told.init_weights()
    assert 'controller' not in plain.architecture()
    names = [name for name, _ in told.named_parameters()]
    own = [name for name in names if name.startswith('controller.')]
    assert names == [*(name for name, _ in plain.named_parameters()), *own]
    assert len(own) == 3 * 4
    for name, parameter in told.controller.named_parameters():
        if name.endswith('bias'):
            assert not parameter.any()
        else:
            assert 0.01 < float(parameter.std()) < 0.03
    (first, *_) = told.controller(torch.tensor([0.0, 1.0]), torch.zeros(2, 1))
    torch.testing.assert_close(
        first.gain, torch.full_like(first.gain, math.log(2)), rtol=0, atol=0.05
    )
    assert first.gain.shape == first.shift.shape == (2, 48)


def test_the_option_is_part_of_the_architecture():
    encoder = make('starnet', {'condition': 0.8})
    again = build_encoder(encoder.architecture())
    assert again.controller.condition == 0.8
    assert again.state_dict().keys() == encoder.state_dict().keys()


@pytest.mark.parametrize('value', [-0.1, 1.5, True, 'high', None])
def test_a_condition_outside_its_range_is_refused(value):
    with pytest.raises(InputError, match=r'controller.condition: λ is a number from 0 to 1'):
        make('vit-4blocks', {'condition': value})
    with pytest.raises(InputError, match='λ is a number from 0 to 1'):
        fold_controller({}, (), value)


def test_an_encoder_without_stages_and_unknown_options_are_refused():
    with pytest.raises(InputError, match=r"timm model 'resnet18'.* no stages .*starnet-s3"):
        MODELS.build(dict(type='saip.TimmEncoder', model='resnet18', controller={}))
    with pytest.raises(InputError, match='controller has no option lambda; it has condition'):
        make('vit-4blocks', {'lambda': 0.2})


@pytest.mark.parametrize('typed', ['dict()', True, 0.2, ''])
def test_a_controller_that_is_no_dict_is_refused_in_words(typed):
    with pytest.raises(InputError) as caught:
        make('vit-4blocks', typed)
    assert str(caught.value) == (
        f'model.backbone.controller={typed!r}: None, or a dict is needed; '
        'model.backbone.controller.condition=0.2 gives one'
    )


@pytest.mark.parametrize('name', ['vit-4blocks', 'starnet'])
def test_a_condition_that_nothing_would_follow_is_refused(name):
    with pytest.raises(InputError, match='comes with a condition, but the encoder has no'):
        encode(make(name), images(1), torch.ones(1))
