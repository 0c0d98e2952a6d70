"""Weights that mmdet's and mmpose's own models wrote arrive in our encoder of their backbone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner.checkpoint import save_checkpoint

from saip.checkpoint import STATISTICS as IMAGENET
from saip.checkpoint import CheckpointError, load_encoder
from saip.engine.converters.openmmlab import openmmlab_to_saip
from saip.registry import MODELS
from tests.test_engine.converter_files import ROOT, images, same_bits, shake
from tests.tools import call_tool

MODEL = dict(type='CSPNeXt', widen_factor=0.125, deepen_factor=0.17, out_indices=(1, 2, 3, 4))
RTMDET = dict(
    type='mmdet.RTMDet',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor',
        mean=[103.53, 116.28, 123.675],
        std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False,
    ),
    backbone=MODEL | dict(type='mmdet.CSPNeXt', out_indices=(2, 3, 4)),
    neck=dict(
        type='mmdet.CSPNeXtPAFPN', in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1
    ),
    bbox_head=dict(
        type='mmdet.RTMDetSepBNHead',
        num_classes=3,
        in_channels=32,
        feat_channels=32,
        stacked_convs=1,
        anchor_generator=dict(type='mmdet.MlvlPointGenerator', strides=[8, 16, 32]),
        bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'),
        loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='mmdet.GIoULoss'),
    ),
)
POSE = dict(
    type='mmpose.TopdownPoseEstimator',
    data_preprocessor=dict(
        type='mmpose.PoseDataPreprocessor',
        mean=[1.0, 2.0, 3.0],
        std=[4.0, 5.0, 6.0],
        bgr_to_rgb=True,
    ),
    backbone=MODEL | dict(type='mmpose.CSPNeXt', out_indices=(4,)),
    head=dict(
        type='mmpose.HeatmapHead',
        in_channels=128,
        out_channels=3,
        deconv_out_channels=(8,),
        deconv_kernel_sizes=(4,),
        loss=dict(type='mmpose.KeypointMSELoss'),
    ),
)


def stock_model(library: str, cfg: dict[str, Any], path: Path) -> Any:
    """A model of a library, and the checkpoint that its runner writes of it."""
    pytest.importorskip(f'{library}.models')
    model = MODELS.build(cfg).eval()
    shake(model)
    meta = {'cfg': Config(dict(model=cfg, test_cfg={})).pretty_text, 'epoch': 3}
    save_checkpoint(
        {'meta': meta, 'state_dict': model.state_dict(), 'optimizer': {}}, str(path)
    )
    return model


@pytest.fixture
def fragment(tmp_path) -> Path:
    path = tmp_path / 'cspnext-tiny.py'
    path.write_text(f"backbone = dict(type='saip.OpenMMLabEncoder', model={MODEL})\n")
    return path


def test_a_detector_that_was_fed_bgr_becomes_an_encoder_of_rgb(tmp_path, fragment):
    detector = stock_model('mmdet', RTMDET, tmp_path / 'rtmdet.pth')
    conversion = openmmlab_to_saip(tmp_path / 'rtmdet.pth', tmp_path / 'ours.pth', fragment)
    stock = detector.backbone.state_dict()
    assert conversion.tensors == len(stock)
    everything = set(detector.state_dict())
    assert set(conversion.dropped) == {k for k in everything if not k.startswith('backbone.')}
    assert re.search(
        r'^dropped: neck\.\* \(\d+ .*, bbox_head\.\* \(\d+ ', str(conversion), re.M
    )
    assert conversion.notes == (
        'note: it was fed BGR; the input channels of stem.0.conv.weight are reversed for RGB',
    )

    encoder, meta = load_encoder(tmp_path / 'ours.pth')
    rgb = images(64, 96)
    with torch.no_grad():
        found = encoder.feature_maps(rgb, (8, 16, 32))
        expected = detector.backbone(rgb.flip(1))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    own = {k.removeprefix('mm_model.'): x for k, x in encoder.state_dict().items()}
    own['stem.0.conv.weight'] = own['stem.0.conv.weight'].flip(1)
    assert same_bits(own, stock)
    assert meta['statistics'] == IMAGENET
    assert meta['architecture'] == encoder.architecture()
    assert meta['architecture']['model']['widen_factor'] == 0.125


def test_a_pose_model_that_was_fed_rgb_keeps_every_bit(tmp_path, fragment):
    model = stock_model('mmpose', POSE, tmp_path / 'pose.pth')
    target = tmp_path / 'ours.safetensors'
    conversion = openmmlab_to_saip(tmp_path / 'pose.pth', target, fragment)
    assert all(key.startswith('head.') for key in conversion.dropped)
    assert conversion.dropped
    encoder, meta = load_encoder(target)
    assert same_bits(encoder.mm_model.state_dict(), model.backbone.state_dict())
    assert meta['statistics'] == dict(mean=[1, 2, 3], std=[4, 5, 6], color_order='RGB')
    assert 'mean [1.0, 2.0, 3.0]' in conversion.notes[0]


@pytest.fixture
def weights(fragment) -> dict[str, torch.Tensor]:
    """A stock backbone's tensors under their own names."""
    try:
        encoder = MODELS.build(Config.fromfile(fragment).backbone)
    except ImportError as error:
        pytest.skip(str(error))
    return encoder.mm_model.state_dict()


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_a_file_that_says_nothing_is_taken_for_rgb_of_imagenet(
    prefix, tmp_path, fragment, weights
):
    source = {f'{prefix}{key}': x for key, x in weights.items()}
    head = {'head.fc.weight': torch.ones(1)} if prefix else {}
    torch.save({'state_dict': source | head}, tmp_path / 'cspnext.pth')
    conversion = openmmlab_to_saip(tmp_path / 'cspnext.pth', tmp_path / 'ours.pth', fragment)
    assert conversion.dropped == tuple(head)
    assert 'does not say' in conversion.notes[0]
    encoder, meta = load_encoder(tmp_path / 'ours.pth')
    assert same_bits(encoder.mm_model.state_dict(), weights)
    assert meta['statistics'] == IMAGENET


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (
            lambda w: w.pop('stem.0.conv.weight'),
            '1 missing, such as mm_model.stem.0.conv.weight',
        ),
        (lambda w: w.update(extra=torch.ones(1)), '1 without a place, such as mm_model.extra'),
        (
            lambda w: w.update({'stem.0.conv.weight': torch.ones(9, 3, 3, 3)}),
            r'of another shape, such as mm_model.stem.0.conv.weight \(9, 3, 3, 3\) instead of',
        ),
    ],
)
def test_every_tensor_of_the_backbone_has_to_match(edit, message, tmp_path, fragment, weights):
    edit(weights)
    torch.save({f'backbone.{key}': x for key, x in weights.items()}, tmp_path / 'cspnext.pth')
    with pytest.raises(CheckpointError, match=message):
        openmmlab_to_saip(tmp_path / 'cspnext.pth', tmp_path / 'ours.pth', fragment)
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    ('code', 'message'),
    [
        (None, 'cspnext-tiny.py'),
        ('backbone = (', 'cspnext-tiny.py: '),
        ('embed_dims = 3', 'its backbone is None, not saip.OpenMMLabEncoder'),
        (
            "backbone = dict(type='saip.TimmEncoder', model='resnet18')",
            'its backbone is saip.TimmEncoder.*timm_to_saip',
        ),
        (
            "backbone = dict(type='saip.OpenMMLabEncoder', model=dict(type='X'), "
            "libraries=('absent',))",
            'X needs one of absent',
        ),
    ],
)
def test_errors_of_the_fragment_are_one_line(
    code, message, tmp_path, fragment, monkeypatch, capsys
):
    torch.save({'backbone.x': torch.ones(1)}, tmp_path / 'file.pth')
    fragment.unlink()
    if code is not None:
        fragment.write_text(code)
    arguments = (tmp_path / 'file.pth', tmp_path / 'ours.pth', '--backbone', fragment)
    assert call_tool(monkeypatch, 'model_converters/openmmlab_to_saip.py', *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('openmmlab_to_saip.py: error: ')
    assert error.count('\n') == 1
    assert re.search(message, error)


def test_command_line_takes_the_shipped_fragment(tmp_path, monkeypatch, capsys):
    fragment = ROOT / 'configs/_base_/backbones/cspnext-s.py'
    try:
        stock = MODELS.build(Config.fromfile(fragment).backbone).mm_model
    except ImportError as error:
        pytest.skip(str(error))
    weights = {f'backbone.{key}': x for key, x in stock.state_dict().items()}
    torch.save({'state_dict': weights | {'head.fc.bias': torch.ones(3)}}, tmp_path / 'in1k.pth')
    target = tmp_path / 'ours.pth'
    arguments = (tmp_path / 'in1k.pth', target, '--backbone', fragment)
    assert call_tool(monkeypatch, 'model_converters/openmmlab_to_saip.py', *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f'{target}: {len(weights)} tensors', 'dropped: head.fc.bias']
    assert load_encoder(target)[0].embed_dims == 512
