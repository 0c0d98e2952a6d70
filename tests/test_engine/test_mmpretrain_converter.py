"""mmpretrain's own classes load our files strictly and compute the same; its files become ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmpretrain.models.backbones import TIMMBackbone, VisionTransformer
from mmpretrain.registry import MODELS as MMPRETRAIN

from saip.checkpoint import STATISTICS as IMAGENET
from saip.checkpoint import CheckpointError, load_checkpoint_file, load_encoder
from saip.engine.converters.mmpretrain import mmpretrain_to_saip, saip_to_mmpretrain
from tests.test_engine.converter_files import (
    STARNET,
    STATISTICS,
    VIT,
    export,
    images,
    make_encoder,
    same_bits,
    shake,
)
from tests.tools import call_tool

HEAD = {'head.layers.head.weight': torch.ones(3, 4), 'head.layers.head.bias': torch.ones(3)}


def classifier_file(path: Path, backbone: torch.nn.Module, **more: torch.Tensor) -> Path:
    """A classifier as mmpretrain's hub has it."""
    shake(backbone)
    weights = {f'backbone.{key}': x for key, x in backbone.state_dict().items()}
    torch.save({'meta': {'mmcls_version': '0.20'}, 'state_dict': weights | HEAD | more}, path)
    return path


def output_of(stock: torch.nn.Module, height: int, width: int) -> torch.Tensor:
    stock.eval()  # mmpretrain's returns nothing
    with torch.no_grad():
        (output,) = stock(images(height, width))
    return output


def test_stock_vit_loads_ours_and_the_way_back_is_exact(tmp_path):
    encoder = make_encoder(VIT)
    target, back = tmp_path / 'mmpretrain.pth', tmp_path / 'back.safetensors'
    conversion = saip_to_mmpretrain(export(encoder, tmp_path), target)
    stock = VisionTransformer(arch='deit-tiny', img_size=(256, 128), out_type='cls_token')
    weights = load_checkpoint_file(target)['state_dict']
    stock.load_state_dict({key.removeprefix('backbone.'): x for key, x in weights.items()})
    expected = output_of(stock, 256, 128)
    with torch.no_grad():
        found = encoder.encode(images()).require_image_token()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    names: dict = {}
    exec('\n'.join(conversion.notes), names)
    printed = MMPRETRAIN.build(names['backbone'])
    printed.init_weights()
    assert type(printed) is VisionTransformer
    assert same_bits(printed.state_dict(), stock.state_dict())

    mmpretrain_to_saip(target, back)
    loaded, meta = load_encoder(back)
    assert same_bits(loaded.state_dict(), encoder.state_dict())
    assert meta['architecture'] == encoder.architecture()
    assert meta['statistics'] == STATISTICS


def test_stock_timm_backbone_loads_ours_and_the_way_back_is_exact(tmp_path):
    encoder = make_encoder(STARNET)
    target, back = tmp_path / 'mmpretrain.pth', tmp_path / 'back.pth'
    conversion = saip_to_mmpretrain(export(encoder, tmp_path), target)
    names: dict = {}
    exec('\n'.join(conversion.notes), names)
    printed = MMPRETRAIN.build(names['backbone'])
    printed.init_weights()
    assert type(printed) is TIMMBackbone
    expected = output_of(printed, 256, 128)
    with torch.no_grad():
        (found,) = encoder.feature_maps(images(), [32])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    mmpretrain_to_saip(target, back)
    assert same_bits(load_encoder(back)[0].state_dict(), encoder.state_dict())


def test_stride_16_which_a_timm_backbone_cannot_have_is_refused(tmp_path):
    source = export(make_encoder(STARNET | dict(output_stride=16)), tmp_path)
    with pytest.raises(CheckpointError, match=r'starnet_s3 with output_stride=16'):
        saip_to_mmpretrain(source, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_a_vit_of_imagenet_becomes_ours(tmp_path):
    stock = VisionTransformer(arch='deit-tiny', img_size=224, out_type='cls_token')
    source = classifier_file(tmp_path / 'deit-tiny.pth', stock)
    conversion = mmpretrain_to_saip(source, tmp_path / 'ours.pth')
    assert set(conversion.dropped) == set(HEAD)
    assert conversion.tensors == len(stock.state_dict())
    encoder, meta = load_encoder(tmp_path / 'ours.pth')
    assert meta['architecture']['grid'] == [14, 14]
    assert meta['architecture']['arch']['num_heads'] == 3
    assert meta['statistics'] == IMAGENET
    assert 'does not say' in conversion.notes[0]
    expected = output_of(stock, 224, 224)
    with torch.no_grad():
        found = encoder.encode(images(224, 224)).require_image_token()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_heads_that_no_arch_of_mmpretrain_tells_are_asked_for(tmp_path):
    arch = dict(embed_dims=24, num_layers=2, num_heads=4, feedforward_channels=48)
    stock = VisionTransformer(arch=arch, img_size=(64, 32), patch_size=8, out_type='cls_token')
    shake(stock)
    torch.save(stock.state_dict(), tmp_path / 'bare.pth')
    with pytest.raises(CheckpointError, match='width 24, 2 blocks and hidden width 48'):
        mmpretrain_to_saip(tmp_path / 'bare.pth', tmp_path / 'ours.pth', img_size=(64, 32))
    with pytest.raises(CheckpointError, match='64x64 do not have the 32 patches'):
        mmpretrain_to_saip(
            tmp_path / 'bare.pth', tmp_path / 'ours.pth', num_heads=4, img_size=(64, 64)
        )
    conversion = mmpretrain_to_saip(
        tmp_path / 'bare.pth', tmp_path / 'ours.pth', num_heads=4, img_size=(64, 32)
    )
    assert conversion.dropped == ()
    encoder, _ = load_encoder(tmp_path / 'ours.pth')
    expected = output_of(stock, 64, 32)
    with torch.no_grad():
        found = encoder.encode(images(64, 32)).require_image_token()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_timm_backbone_of_imagenet_becomes_ours(tmp_path):
    stock = TIMMBackbone('resnet18')
    source = classifier_file(tmp_path / 'resnet18.pth', stock)
    with pytest.raises(CheckpointError, match='--model'):
        mmpretrain_to_saip(source, tmp_path / 'ours.pth')
    with pytest.raises(CheckpointError, match='--num-heads is for files with a VisionTr'):
        mmpretrain_to_saip(source, tmp_path / 'ours.pth', 'resnet18.a1_in1k', num_heads=3)
    assert not (tmp_path / 'ours.pth').exists()
    conversion = mmpretrain_to_saip(source, tmp_path / 'ours.pth', 'resnet18.a1_in1k')
    assert set(conversion.dropped) == set(HEAD)
    encoder, meta = load_encoder(tmp_path / 'ours.pth')
    assert same_bits(encoder.timm_model.state_dict(), stock.timm_model.state_dict())
    assert meta['architecture']['type'] == 'saip.TimmEncoder'


def test_a_classifier_inside_a_timm_backbone_is_no_file_of_mmpretrain(tmp_path):
    extra = {'backbone.timm_model.fc.bias': torch.ones(5)}
    source = classifier_file(tmp_path / 'resnet18.pth', TIMMBackbone('resnet18'), **extra)
    message = r"no classifier, but the file holds resnet18's: timm_model\.fc\.bias;"
    with pytest.raises(CheckpointError, match=message):
        mmpretrain_to_saip(source, tmp_path / 'ours.pth', 'resnet18')
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (
            {'backbone.stem.conv.weight': torch.ones(1), **HEAD},
            'keys such as stem.conv.weight.*VisionTransformer and TIMMBackbone.*timm_to_saip',
        ),
        (
            {'backbone.cls_token': torch.ones(1), 'neck.mask_token': torch.ones(1), **HEAD},
            r'keys beside backbone\. and head\.: neck\.mask_token',
        ),
        (
            {
                'backbone.patch_embed.projection.weight': torch.ones(1),
                'backbone.dist_token': torch.ones(1),
            },
            'distillation token',
        ),
        (
            {'backbone.patch_embed.projection.weight': torch.ones(1), **HEAD},
            'missing keys cls_token, pos_embed',
        ),
    ],
)
def test_other_files_are_refused(weights, message, tmp_path, monkeypatch, capsys):
    torch.save({'state_dict': weights}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=message):
        mmpretrain_to_saip(tmp_path / 'file.pth', tmp_path / 'ours.pth')
    arguments = (tmp_path / 'file.pth', tmp_path / 'ours.pth')
    assert call_tool(monkeypatch, 'model_converters/mmpretrain_to_saip.py', *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('mmpretrain_to_saip.py: error: ')
    assert error.count('\n') == 1
    assert not (tmp_path / 'ours.pth').exists()


def test_command_line_prints_the_configuration(tmp_path, monkeypatch, capsys):
    source = export(make_encoder(VIT), tmp_path)
    target = tmp_path / 'mmpretrain.pth'
    assert call_tool(monkeypatch, 'model_converters/saip_to_mmpretrain.py', source, target) == 0
    out = capsys.readouterr().out
    assert out.startswith(f'{target}: 150 tensors\n')
    assert "type='mmpretrain.VisionTransformer'" in out
    assert (
        call_tool(
            monkeypatch,
            'model_converters/saip_to_mmpretrain.py',
            target,
            target,
            '--which',
            'expert',
        )
        == 2
    )
    assert 'holds the student, not the expert' in capsys.readouterr().err
    arguments = (target, tmp_path / 'back.pth', '--num-heads', '3')
    assert call_tool(monkeypatch, 'model_converters/mmpretrain_to_saip.py', *arguments) == 2
    assert 'leave --num-heads out' in capsys.readouterr().err
