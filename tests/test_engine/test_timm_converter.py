"""timm loads our files strictly and computes the same; its files become ours."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from saip.checkpoint import STATISTICS as IMAGENET
from saip.checkpoint import CheckpointError, load_checkpoint_file, load_encoder
from saip.engine.converters.files import check_features
from saip.engine.converters.timm import saip_to_timm, timm_statistics, timm_to_saip
from saip.registry import MODELS
from tests.test_engine.converter_files import (
    STARNET,
    STATISTICS,
    TINYVIT,
    VIT,
    export,
    images,
    make_encoder,
    same_bits,
    shake,
)
from tests.tools import call_tool

TO_SAIP, TO_TIMM = (f'model_converters/{name}.py' for name in ('timm_to_saip', 'saip_to_timm'))
CALLS = {
    'vit': (VIT, 'vit_tiny_patch16_224', {'img_size': (256, 128)}),
    'starnet': (STARNET, 'starnet_s3', {}),
    'tinyvit': (TINYVIT, 'tiny_vit_5m_224', {}),
}
SMALL = dict(
    type='saip.ViTEncoder',
    arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=72),
    img_size=(64, 32),
    patch_size=8,
    feature_level=None,
)


def timm_file(path: Path, name: str, **options: Any) -> tuple[Path, nn.Module]:
    """A classifier of timm, and its file as timm's users have it."""
    model = timm.create_model(name, **options)
    shake(model)
    if path.suffix == '.safetensors':
        save_file(model.state_dict(), path, metadata={'format': 'pt'})
    else:
        torch.save(model.state_dict(), path)
    return path, model.eval()


@pytest.mark.parametrize(
    ('kind', 'suffix'),
    [('vit', 'pth'), ('vit', 'safetensors'), ('starnet', 'safetensors'), ('tinyvit', 'pth')],
)
def test_timm_loads_ours_and_the_way_back_is_exact(kind, suffix, tmp_path):
    cfg, name, options = CALLS[kind]
    encoder = make_encoder(cfg)
    theirs, back = tmp_path / f'timm.{suffix}', tmp_path / f'back.{suffix}'
    conversion = saip_to_timm(export(encoder, tmp_path), theirs)
    # timm's own reader, which is strict.
    model = timm.create_model(name, **options, num_classes=0, checkpoint_path=str(theirs))
    assert conversion.tensors == len(model.state_dict())
    with torch.no_grad():
        expected = model.eval()(images())
        found = encoder.encode(images()).require_image_token()
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    timm_to_saip(theirs, back)
    loaded, meta = load_encoder(back)
    assert same_bits(loaded.state_dict(), encoder.state_dict())
    assert meta['architecture'] == encoder.architecture()
    assert meta['statistics'] == STATISTICS
    assert (meta['preset'], meta['epoch']) == ('saip', 300)
    again = tmp_path / f'again.{suffix}'
    saip_to_timm(back, again)
    first, second = (load_checkpoint_file(path) for path in (theirs, again))
    assert same_bits(first['state_dict'], second['state_dict'])
    assert first['meta']['tensors_sha256'] == second['meta']['tensors_sha256']


@pytest.mark.parametrize('cfg', [STARNET, TINYVIT], ids=lambda cfg: cfg['model'])
def test_the_lines_for_stride_16_make_the_same_network(cfg, tmp_path):
    encoder = make_encoder(cfg | dict(output_stride=16))
    conversion = saip_to_timm(export(encoder, tmp_path), tmp_path / 'timm.pth')
    scope = dict(timm=timm)
    exec('\n'.join(conversion.notes), scope)
    with torch.no_grad():
        maps = scope['model'].eval().forward_features(images(128, 64))
        assert maps.shape[-2:] == (8, 4)
        expected = encoder.forward(images(128, 64))[-1]
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-5)

    timm_to_saip(tmp_path / 'timm.pth', tmp_path / 'back.pth')
    loaded, meta = load_encoder(tmp_path / 'back.pth')
    assert same_bits(loaded.state_dict(), encoder.state_dict())
    assert meta['architecture'] == encoder.architecture()
    assert loaded.encode(images(128, 64)).grid == (8, 4)


def test_maps_of_timm_equal_ours_at_another_size(tmp_path):
    encoder = make_encoder(STARNET)
    saip_to_timm(export(encoder, tmp_path), tmp_path / 'timm.pth')
    model = timm.create_model(
        'starnet_s3', checkpoint_path=tmp_path / 'timm.pth', num_classes=0
    )
    with torch.no_grad():
        expected = model.eval().forward_features(images(128, 64))
        (found,) = encoder.feature_maps(images(128, 64), [32])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_another_vit_is_called_with_its_options(tmp_path):
    encoder = make_encoder(SMALL)
    target = tmp_path / 'timm.pth'
    conversion = saip_to_timm(export(encoder, tmp_path), target)
    (call,) = conversion.notes
    assert call.startswith("timm.create_model('vit_tiny_patch16_224', img_size=(64, 32)")
    model = eval(call, {'timm': timm})
    with torch.no_grad():
        found = encoder.encode(images(64, 32)).require_image_token()
        torch.testing.assert_close(found, model.eval()(images(64, 32)), atol=1e-5, rtol=1e-5)


def test_the_expert_of_a_checkpoint_is_taken_by_name(tmp_path):
    student, expert = make_encoder(SMALL), make_encoder(SMALL)
    expert.ln1.bias.data.fill_(0.25)
    tensors = {f'backbone.{key}': x for key, x in student.state_dict().items()}
    tensors |= {f'expert.backbone.{key}': x for key, x in expert.state_dict().items()}
    source = tmp_path / 'epoch_1.pth'
    meta = {'architecture': student.architecture()}
    torch.save({'state_dict': tensors, 'meta': meta}, source)
    saip_to_timm(source, tmp_path / 'timm.pth', 'expert')
    written = load_checkpoint_file(tmp_path / 'timm.pth')
    assert written['state_dict']['norm.bias'].eq(0.25).all()
    timm_to_saip(tmp_path / 'timm.pth', tmp_path / 'back.pth')
    loaded, _ = load_encoder(tmp_path / 'back.pth', 'expert')
    assert same_bits(loaded.state_dict(), expert.state_dict())


@pytest.mark.parametrize('wrapping', ['bare', 'state_dict', 'model', 'safetensors', 'module.'])
def test_a_vit_of_imagenet_becomes_ours_with_its_square_grid(wrapping, tmp_path):
    suffix = 'safetensors' if wrapping == 'safetensors' else 'pth'
    source, model = timm_file(tmp_path / f'timm.{suffix}', 'vit_tiny_patch16_224')
    if wrapping in ('state_dict', 'model'):
        torch.save({wrapping: model.state_dict(), 'epoch': 3}, source)
    elif wrapping == 'module.':
        torch.save({f'module.{key}': x for key, x in model.state_dict().items()}, source)
    target = tmp_path / 'ours.pth'
    conversion = timm_to_saip(source, target, 'vit_tiny_patch16_224')
    assert set(conversion.dropped) == {'head.weight', 'head.bias'}
    assert conversion.tensors == len(model.state_dict()) - 2
    encoder, meta = load_encoder(target)
    assert meta['architecture']['grid'] == [14, 14]
    assert meta['architecture']['img_size'] == [224, 224]
    assert meta['statistics']['mean'] == meta['statistics']['std'] == [127.5] * 3
    assert meta['objectives'] is None
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images(224, 224)), pre_logits=True)
        found = encoder.encode(images(224, 224)).require_image_token()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_square_vit_is_resampled_to_the_grid_of_people(tmp_path):
    source, model = timm_file(tmp_path / 'timm.pth', 'vit_tiny_patch16_224')
    target = tmp_path / 'ours.pth'
    timm_to_saip(source, target, 'vit_tiny_patch16_224')
    cfg = dict(type='Pretrained', checkpoint=str(target), prefix='backbone.')
    encoder = MODELS.build({**VIT, 'init_cfg': cfg})
    encoder.init_weights()
    square = model.pos_embed.detach()[:, 1:].transpose(1, 2).reshape(1, 192, 14, 14)
    expected = F.interpolate(square, (16, 8), mode='bicubic', align_corners=False)
    rows = expected.flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder.pos_embed[:, 1:], rows, atol=1e-5, rtol=1e-5)
    assert torch.equal(encoder.layers[3].ln2.bias, model.blocks[3].norm2.bias)


@pytest.mark.parametrize(
    ('name', 'classifier', 'tensors'),
    [
        ('resnet18.a1_in1k', 'fc.', 2),
        ('tiny_vit_5m_224.dist_in22k', 'head.fc.', 2),
        ('repvit_m0_9.dist_300e_in1k', 'head.', 14),  # two classifiers, a BatchNorm in each
    ],
)
def test_only_the_classifier_of_other_models_is_dropped(name, classifier, tensors, tmp_path):
    source, model = timm_file(tmp_path / 'timm.safetensors', name, num_classes=5)
    conversion = timm_to_saip(source, tmp_path / 'ours.pth', name)
    dropped = {key for key in model.state_dict() if key.startswith(classifier)}
    assert set(conversion.dropped) == dropped
    assert len(dropped) == tensors
    encoder, meta = load_encoder(tmp_path / 'ours.pth')
    assert meta['architecture']['model'] == name.partition('.')[0]
    assert meta['statistics'] == IMAGENET
    assert conversion.notes == ()
    kept = {key: x for key, x in model.state_dict().items() if key not in dropped}
    assert same_bits(encoder.timm_model.state_dict(), kept)


def test_statistics_are_those_of_the_named_weights():
    found, notes = timm_statistics('vit_tiny_patch16_224.augreg_in21k_ft_in1k')
    assert found['mean'] == [127.5] * 3
    (note,) = notes
    assert 'data_preprocessor.mean' in note
    found, notes = timm_statistics('vit_base_patch16_224.dino')
    assert found == IMAGENET
    assert notes == ()
    found, notes = timm_statistics('deit_tiny_patch16_224')
    assert found == IMAGENET
    assert len(notes) == 1
    assert 'deit_tiny_patch16_224.fb_in1k' in notes[0]
    found, notes = timm_statistics('starnet_s150')
    assert found == IMAGENET
    assert 'no statistics' in notes[0]


def test_another_activation_shows_in_the_features():
    cfg = {**VIT, 'arch': SMALL['arch'], 'img_size': (64, 32), 'patch_size': 8}
    encoder = make_encoder({**cfg, 'feature_level': None})
    options = dict(img_size=(64, 32), patch_size=8, embed_dim=24, depth=2, num_heads=2)
    for act, fits in (('gelu', True), ('relu', False)):
        model = timm.create_model(
            'vit_tiny_patch16_224', **options, mlp_ratio=3, num_classes=0, act_layer=act
        )
        theirs = model.state_dict()
        # Both walk the network in the same order: an independent pairing of the names.
        values = list(encoder.state_dict().values())
        assert [x.shape for x in theirs.values()] == [x.shape for x in values]
        model.load_state_dict(dict(zip(theirs, values, strict=True)))
        if fits:
            check_features(encoder, model.eval(), 'timm')
        else:
            with pytest.raises(CheckpointError, match='something else with the same weights'):
                check_features(encoder, model.eval(), 'timm')


class RoundedOtherwise(torch.nn.Module):
    """The same features, but for what float32 may make of sums in another order."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, images):
        token = self.encoder.encode(images).require_image_token()
        return token + (1e3 if images.dtype == torch.float32 else 0)


def test_rounding_is_no_difference_and_weights_stay_what_they_are():
    cfg = {**VIT, 'arch': SMALL['arch'], 'img_size': (64, 32), 'patch_size': 8}
    encoder = make_encoder({**cfg, 'feature_level': None})
    before = {key: x.clone() for key, x in encoder.state_dict().items()}
    check_features(encoder, RoundedOtherwise(deepcopy(encoder)), 'a twin')
    for key, x in encoder.state_dict().items():
        assert x.dtype == before[key].dtype
        assert torch.equal(x, before[key]), key


def broken(change: str, weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    if change == 'distilled':
        return {**weights, 'dist_token': torch.zeros(1, 1, 24)}
    if change == 'missing':
        return {key: x for key, x in weights.items() if key != 'blocks.1.norm2.bias'}
    if change == 'unknown':
        return {**weights, 'blocks.1.ls1.gamma': torch.zeros(24)}
    if change == 'shape':
        return {**weights, 'norm.bias': torch.zeros(23)}
    return {'optimizer': {}, 'epoch': 3}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('distilled', 'distillation token.*without distillation'),
        ('missing', r'missing|blocks\.1\.norm2\.bias'),
        ('unknown', r'unknown keys blocks\.1\.ls1\.gamma'),
        ('shape', r'ln1\.bias \(23,\) instead of \(192,\)'),
        ('nothing', 'no weights found.*optimizer, epoch are no tensors'),
    ],
)
def test_files_that_do_not_fit(change, message, tmp_path):
    model = timm.create_model('vit_tiny_patch16_224', num_classes=0)
    torch.save(broken(change, model.state_dict()), tmp_path / 'timm.pth')
    with pytest.raises(CheckpointError, match=message):
        timm_to_saip(tmp_path / 'timm.pth', tmp_path / 'ours.pth', 'vit_tiny_patch16_224')
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], '--model starnet_s3'),
        (['--model', 'starnet_s33'], "no model 'starnet_s33'; near: starnet_s3"),
        (['--model', 'resnet18.nix'], 'tag (nix)'),
        (['--model', 'resnet34'], "not those of timm's resnet34"),
        (['--model', 'resnet18', '--img-size', '64', '64'], '--img-size is for plain ViTs'),
        (['--model', 'vit_tiny_patch16_224'], 'not the weights of a plain ViT'),
    ],
)
def test_command_line_errors_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    source, _ = timm_file(tmp_path / 'timm.pth', 'resnet18', num_classes=0)
    status = call_tool(monkeypatch, TO_SAIP, source, tmp_path / 'ours.pth', *arguments)
    out = capsys.readouterr()
    assert status == 2
    assert message in out.err
    assert out.err.startswith('timm_to_saip.py: error: ')
    assert out.err.count('\n') == 1
    assert not (tmp_path / 'ours.pth').exists()


def test_command_line_says_what_it_did(tmp_path, monkeypatch, capsys):
    source, _ = timm_file(tmp_path / 'timm.pth', 'resnet18', num_classes=5)
    ours, theirs = tmp_path / 'ours.pth', tmp_path / 'back.safetensors'
    assert call_tool(monkeypatch, TO_SAIP, source, ours, '--model', 'resnet18') == 0
    out = capsys.readouterr().out
    assert 'dropped: fc.weight, fc.bias' in out
    assert 'note: mean and std are those of resnet18.a1_in1k' in out
    assert call_tool(monkeypatch, TO_TIMM, ours, theirs) == 0
    assert "timm.create_model('resnet18', num_classes=0" in capsys.readouterr().out
    assert call_tool(monkeypatch, TO_SAIP, theirs, ours, '--model', 'resnet18') == 2
    assert 'leave --model out' in capsys.readouterr().err
    assert call_tool(monkeypatch, TO_TIMM, tmp_path / 'no.pth', theirs) == 2
    assert 'no such checkpoint file' in capsys.readouterr().err
    assert call_tool(monkeypatch, TO_TIMM, source, theirs) == 2
    assert 'holds no student' in capsys.readouterr().err
