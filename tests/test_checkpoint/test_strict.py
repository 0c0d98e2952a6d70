"""Exported weights in the models of others: all of them load, or it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from saip.checkpoint import WeightsError, infer_grid, load_checkpoint_file, load_pretrained
from saip.models.backbones import ViTEncoder
from tests.test_checkpoint.checkpoint_files import ARCH, SIZE, small_encoder


def classifier_with(init_cfg: dict, size: tuple[int, int] = SIZE, **changes: Any) -> Any:
    backbone = {
        'type': 'saip.ViTEncoder',
        'arch': {**ARCH, **changes},
        'img_size': size,
        'feature_level': None,
        'out_type': 'cls_token',
        'init_cfg': {'type': 'Pretrained', **init_cfg},
    }
    head = {'type': 'LinearClsHead', 'num_classes': 3, 'in_channels': 16}
    return MMPRETRAIN_MODELS.build(
        {'type': 'ImageClassifier', 'backbone': backbone, 'head': head}
    )


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_classifier_gets_all_weights(exported: Path, suffix: str) -> None:
    path = exported.with_suffix(suffix)
    model = classifier_with({'checkpoint': str(path), 'prefix': 'backbone.'})
    model.init_weights()
    stored = load_checkpoint_file(path)['state_dict']
    own = model.backbone.state_dict()
    assert {f'backbone.{key}' for key in own} == set(stored)
    assert all(torch.equal(value, stored[f'backbone.{key}']) for key, value in own.items())


@pytest.mark.parametrize('size', [(96, 48), (64, 64), (32, 64)])
def test_classifier_at_other_sizes_gets_positions_resampled_on_the_grid(
    exported: Path, size: tuple[int, int]
) -> None:
    model = classifier_with({'checkpoint': str(exported), 'prefix': 'backbone'}, size)
    model.init_weights()
    stored = load_checkpoint_file(exported)['state_dict']['backbone.pos_embed']
    grid = (size[0] // 16, size[1] // 16)
    maps = stored[:, 1:].unflatten(1, (4, 2)).permute(0, 3, 1, 2)
    wanted = F.interpolate(maps, grid, mode='bicubic', align_corners=False)
    own = model.backbone.pos_embed
    torch.testing.assert_close(own[:, 1:].unflatten(1, grid).permute(0, 3, 1, 2), wanted)
    assert torch.equal(own[:, :1], stored[:, :1])


def test_report_says_what_happened(exported: Path) -> None:
    encoder = small_encoder((96, 48))
    cfg = {'type': 'Pretrained', 'checkpoint': str(exported), 'prefix': 'backbone.'}
    report = load_pretrained(encoder, cfg)
    assert report.tensors == len(encoder.state_dict())
    assert report.parameters == sum(p.numel() for p in encoder.parameters())
    assert 'resampled from 4x2 to 6x3' in str(report)


def test_training_checkpoint_loads_directly(training: Path) -> None:
    model = classifier_with(
        {'checkpoint': str(training), 'prefix': 'expert.backbone.'}, (96, 48)
    )
    model.init_weights()
    stored = load_checkpoint_file(training)['state_dict']
    assert torch.equal(model.backbone.cls_token, stored['expert.backbone.cls_token'])


@pytest.mark.parametrize(
    ('init_cfg', 'changes', 'message'),
    [
        ({}, {}, 'has no prefix'),
        ({'prefix': 'student.'}, {}, "no key begins with 'student.'.*begin with backbone."),
        ({'prefix': 'backbone.'}, {'num_heads': 4}, 'arch.num_heads is 2 in the file and 4'),
        ({'prefix': 'backbone.'}, {'num_layers': 3}, 'arch.num_layers is 2 in the file and 3'),
    ],
)
def test_what_does_not_match_raises(
    exported: Path, init_cfg: dict, changes: dict, message: str
) -> None:
    model = classifier_with({'checkpoint': str(exported), **init_cfg}, **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        model.init_weights()
    assert str(exported) in str(caught.value)
    assert 'prefix=' in str(caught.value) or 'values of the file' in str(caught.value)


def test_other_patch_size_raises(exported: Path) -> None:
    encoder = ViTEncoder(arch=ARCH, img_size=SIZE, patch_size=8, feature_level=0)
    cfg = {'type': 'Pretrained', 'checkpoint': str(exported), 'prefix': 'backbone.'}
    with pytest.raises(WeightsError, match='patch_size is 16 in the file and 8 in the model'):
        load_pretrained(encoder, cfg)


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda s: s.update({'backbone.extra': torch.ones(1)}), '1 keys match nothing: extra'),
        (lambda s: s.pop('backbone.ln1.bias'), '1 tensors of the model are missing: ln1.bias'),
        (
            lambda s: s.update({'backbone.ln1.bias': torch.ones(17)}),
            r'1 shapes differ: ln1.bias \(17,\) instead of \(16,\)',
        ),
        (
            lambda s: s['backbone.ln1.bias'].fill_(float('nan')),
            '1 tensors hold values that are not finite: ln1.bias',
        ),
    ],
)
def test_every_tensor_has_to_match(exported: Path, edit: Any, message: str) -> None:
    checkpoint = load_checkpoint_file(exported)
    edit(checkpoint['state_dict'])
    del checkpoint['meta']['tensors_sha256']
    torch.save(checkpoint, exported)
    encoder = small_encoder()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    cfg = {'type': 'Pretrained', 'checkpoint': str(exported), 'prefix': 'backbone.'}
    with pytest.raises(WeightsError, match=message):
        load_pretrained(encoder, cfg)
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_file_without_meta_needs_a_known_grid(tmp_path: Path) -> None:
    path = tmp_path / 'foreign.pth'
    for size in ((256, 128), (384, 128)):
        state_dict = small_encoder(size).state_dict()
        torch.save({f'backbone.{key}': value for key, value in state_dict.items()}, path)
        cfg = {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': 'backbone.'}
        if size == (256, 128):
            report = load_pretrained(small_encoder((224, 224)), cfg)
            assert (report.source_grid, report.target_grid) == ((16, 8), (14, 14))
            continue
        with pytest.raises(WeightsError, match='may be 16x12 or 24x8'):
            load_pretrained(small_encoder((384, 128)), cfg)


def test_grids_of_known_sizes() -> None:
    assert infer_grid(196, 16) == (14, 14)
    assert infer_grid(128, 16) == (16, 8)
    with pytest.raises(WeightsError, match='no known image size'):
        infer_grid(131, 16)
