"""PATH's released encoders: converted, they compute what timm computes with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

from saip.checkpoint import CheckpointError, load_encoder, load_pretrained
from saip.engine.converters import convert_path, has_class_position, path_architecture
from saip.models.backbones import ViTEncoder, build_encoder
from tests.tiny import ROOT
from tests.tools import call_tool

TOOL = ROOT / 'tools/model_converters/path_to_saip.py'
SHAPE = {'embed_dim': 128, 'depth': 3, 'num_heads': 2, 'patch_size': 16, 'num_classes': 0}


def timm_model(class_position: bool = True, size: tuple[int, int] = (224, 224)):
    """A small ViT of timm at random, in whose names the release is kept."""
    torch.manual_seed(0)
    model = VisionTransformer(img_size=size, no_embed_class=not class_position, **SHAPE)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def released(model) -> dict:
    return {'model': model.state_dict()}


def run_tool(monkeypatch, *arguments: object) -> int:
    return call_tool(monkeypatch, 'model_converters/path_to_saip.py', *arguments)


@pytest.mark.parametrize(('class_position', 'rows'), [(True, 197), (False, 196)])
def test_the_tools_file_computes_what_timm_computes(
    class_position, rows, tmp_path, monkeypatch, capsys
):
    model = timm_model(class_position)
    source, target = tmp_path / 'released.pth', tmp_path / 'new/expert.pth'
    torch.save(released(model), source)
    assert model.pos_embed.shape[1] == rows
    assert run_tool(monkeypatch, source, target) == 0
    assert ('did not train' in capsys.readouterr().out) is not class_position
    encoder = ViTEncoder(
        arch=dict(embed_dims=128, num_layers=3, num_heads=2, feedforward_channels=512),
        img_size=(224, 224),
        feature_level=None,
    ).eval()
    report = load_pretrained(encoder, {'checkpoint': str(target), 'prefix': 'backbone.'})
    assert report.source_grid == report.target_grid == (14, 14)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, found = model.forward_features(images), encoder.encode(images)
    torch.testing.assert_close(found.image_token, expected[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.patch_tokens, expected[:, 1:], rtol=1e-4, atol=1e-4)


def test_positions_reach_a_persons_grid_as_timm_resamples_them():
    model, upright = timm_model(), timm_model(size=(256, 128))
    state = model.state_dict()
    state['pos_embed'] = resample_abs_pos_embed(
        state['pos_embed'], (16, 8), (14, 14), num_prefix_tokens=1, antialias=False
    )
    upright.load_state_dict(state)
    weights = convert_path(released(model))
    encoder = build_encoder(path_architecture(weights)).eval()
    encoder.load_state_dict({k.removeprefix('backbone.'): v for k, v in weights.items()})
    images = torch.randn(2, 3, 256, 128)
    with torch.no_grad():
        expected, found = upright.forward_features(images), encoder.encode(images)
    torch.testing.assert_close(found.image_token, expected[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.patch_tokens, expected[:, 1:], rtol=1e-4, atol=1e-4)


def test_fewer_blocks_end_with_a_norm_without_parameters(tmp_path, monkeypatch):
    model = timm_model()
    source, target = tmp_path / 'released.pth', tmp_path / 'expert.pth'
    torch.save(released(model), source)
    assert run_tool(monkeypatch, source, target, '--blocks', 2) == 0
    encoder, _ = load_encoder(target)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        ((_, prefix),) = model.forward_intermediates(
            images, indices=[1], return_prefix_tokens=True, intermediates_only=True
        )
        found = encoder.encode(images)
    expected = F.layer_norm(prefix[:, 0], (128,), eps=1e-6)
    torch.testing.assert_close(found.image_token, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(CheckpointError, match='3 of 3 blocks: choose from 1 to 2'):
        convert_path(released(model), 3)


def test_other_files_are_refused():
    state = timm_model().state_dict()
    with pytest.raises(CheckpointError, match="no 'model' in it"):
        convert_path({'state_dict': state})
    with pytest.raises(CheckpointError, match=r"unknown keys \['neck.weight'\]"):
        convert_path({'model': {**state, 'neck.weight': torch.zeros(1)}})
    lacking = {k: v for k, v in state.items() if not k.startswith('blocks.1.norm2')}
    with pytest.raises(CheckpointError, match=r"missing keys \['blocks.1.norm2'\]"):
        convert_path({'model': lacking})
    for rows in (195, 198):
        with pytest.raises(CheckpointError, match='no table of a square'):
            has_class_position({'model': {'pos_embed': torch.zeros(1, rows, 8)}})


def test_errors_of_the_tool_are_one_line(tmp_path: Path, monkeypatch, capsys):
    source = tmp_path / 'other.pth'
    torch.save({'state_dict': {}}, source)
    assert run_tool(monkeypatch, source, tmp_path / 'out.pth') == 2
    error = capsys.readouterr().err
    assert error.startswith('path_to_saip.py: error: ')
    assert error.count('\n') == 1
    assert not (tmp_path / 'out.pth').exists()
