"""Checkpoint files: what is read, what is refused, what is written, and what then loads."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import save_checkpoint
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from saip.engine.checkpoint import (
    CheckpointError,
    WeightsError,
    config_snippet,
    export_backbone,
    load_checkpoint_file,
    load_encoder,
    load_pretrained,
)
from saip.engine.checkpoint_io import parse_config_text, tensors_sha256
from saip.engine.pretrained import infer_grid
from saip.models.backbones import ViTEncoder

ROOT = Path(__file__).parents[2]
ARCH = {'embed_dims': 16, 'num_layers': 2, 'num_heads': 2, 'feedforward_channels': 32}
SIZE = (64, 32)
CONFIG = {
    'preset': 'saip',
    'model': {
        'type': 'saip.SAIP',
        'data_preprocessor': {
            'type': 'saip.ViewsPreprocessor',
            'size': SIZE,
            'mean': [1, 2, 3],
        },
        'backbone': {
            'type': 'saip.ViTEncoder',
            'arch': ARCH,
            'feature_level': 0,
            'init_cfg': {'type': 'Pretrained', 'checkpoint': 'gone.pth'},
        },
        'objectives': {'csm': {'type': 'saip.X'}, 'csr': None},
    },
    'train_dataloader': {
        'dataset': {'type': 'ConcatDataset', 'datasets': [{'data_root': '/secret/LUP1M/'}]}
    },
}


def small_encoder(size: tuple[int, int] = SIZE, **changes: Any) -> ViTEncoder:
    arch = {**ARCH, **changes}
    encoder = ViTEncoder(arch=arch, img_size=size, feature_level=0)
    encoder.init_weights()
    return encoder


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A checkpoint as mmengine's Runner writes it, message hub and all."""
    torch.manual_seed(0)
    student, expert = small_encoder().state_dict(), small_encoder().state_dict()
    history = HistoryBuffer()
    for value in (3.0, 2.0):
        history.update(value)
    checkpoint = {
        'meta': {'cfg': Config(CONFIG).pretty_text, 'epoch': 3, 'iter': 30, 'time': 'now'},
        'state_dict': {
            **{f'backbone.{key}': value for key, value in student.items()},
            **{f'expert.backbone.{key}': value for key, value in expert.items()},
            'objectives.csm.head.center': torch.zeros(1, 4),
        },
        'message_hub': {
            'log_scalars': {'train/loss': history},
            'runtime_info': {'eta': np.float64(1.5), 'best': np.float32(2), 'n': np.int64(3)},
        },
        'optimizer': {'state': {}, 'param_groups': [{'lr': 1e-3, 'betas': (0.9, 0.95)}]},
    }
    path = tmp_path / 'run' / 'epoch_3.pth'
    path.parent.mkdir()
    save_checkpoint(checkpoint, str(path))
    return path


@pytest.fixture
def exported(training: Path, tmp_path: Path) -> Path:
    return export_backbone(load_checkpoint_file(training), tmp_path / 'out', source=training)


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ('touch pwned',)


# -- reading --


def test_training_checkpoint_is_read_with_its_log(training: Path) -> None:
    hub = load_checkpoint_file(training)['message_hub']
    assert hub['log_scalars']['train/loss'].data[0].tolist() == [3.0, 2.0]
    assert hub['log_scalars']['train/loss'].mean() == 2.5
    assert hub['runtime_info']['eta'] == 1.5


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'none.pth: no such checkpoint file'):
        load_checkpoint_file(tmp_path / 'none.pth')


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize('damage', ['empty', 'text', 'half'])
def test_damaged_file_is_named_in_one_line(exported: Path, suffix: str, damage: str) -> None:
    path = exported.with_suffix(f'.{suffix}')
    whole = path.read_bytes()
    content = {'empty': b'', 'text': b'no weights here\n', 'half': whole[: len(whole) // 2]}
    path.write_bytes(content[damage])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint_file(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_file_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': Evil()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'evil.pth: refused.*\.system'):
        load_checkpoint_file(path)
    assert not (tmp_path / 'pwned').exists()


class Reach:
    """Asks the unpickler for ``getattr`` of something else than a log statistic."""

    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, '__init__')


def test_getattr_reads_nothing_but_log_statistics(tmp_path: Path) -> None:
    torch.save({'a': Reach()}, tmp_path / 'reach.pth')
    with pytest.raises(CheckpointError, match=r'refused.*getattr'):
        load_checkpoint_file(tmp_path / 'reach.pth')


def test_stored_configuration_is_read_but_never_run() -> None:
    text = Config(CONFIG).pretty_text + "a = dict(b=-1.5, c={'x y': (1, None)})\n"
    parsed = parse_config_text(text)
    assert parsed['model'] == CONFIG['model']
    assert parsed['a'] == {'b': -1.5, 'c': {'x y': (1, None)}}
    for code in ("x = __import__('os')", 'import os', 'x = [i for i in y]', 'x = dict(**y)'):
        with pytest.raises(CheckpointError, match='line 1'):
            parse_config_text(code)


# -- exporting --


def test_exported_files_hold_the_student_and_plain_values(
    exported: Path, training: Path
) -> None:
    source = load_checkpoint_file(training)['state_dict']
    plain = torch.load(exported, weights_only=True)
    expected = {key: value for key, value in source.items() if key.startswith('backbone.')}
    assert plain['state_dict'].keys() == expected.keys()
    assert all(torch.equal(plain['state_dict'][key], expected[key]) for key in expected)
    meta = plain['meta']
    assert json.loads(json.dumps(meta)) == meta
    assert meta['architecture']['arch'] == ARCH
    assert meta['architecture']['grid'] == [4, 2]
    assert (meta['preset'], meta['objectives'], meta['data']) == ('saip', ['csm'], ['LUP1M'])
    assert (meta['which'], meta['epoch'], meta['iteration']) == ('student', 3, 30)
    assert meta['statistics']['mean'] == [1.0, 2.0, 3.0]
    assert meta['statistics']['std'] == [58.395, 57.12, 57.375]
    assert '/secret' not in json.dumps(meta)
    digest = tensors_sha256(expected)
    assert meta['tensors_sha256'] == digest
    assert exported.name == f'backbone-{digest[:8]}.pth'


def test_safetensors_hold_the_same(exported: Path) -> None:
    plain = load_checkpoint_file(exported)
    other = load_checkpoint_file(exported.with_suffix('.safetensors'))
    assert other['meta'] == plain['meta']
    assert tensors_sha256(other['state_dict']) == tensors_sha256(plain['state_dict'])
    with safetensors.safe_open(exported.with_suffix('.safetensors'), 'pt') as file:
        assert set(file.keys()) == set(plain['state_dict'])


def test_export_is_deterministic_and_leaves_nothing_else(
    training: Path, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint_file(training)
    first = export_backbone(checkpoint, tmp_path / 'a')
    second = export_backbone(checkpoint, tmp_path / 'b')
    assert sorted(p.name for p in (tmp_path / 'a').iterdir()) == sorted(
        [first.name, first.with_suffix('.safetensors').name]
    )
    for suffix in ('.pth', '.safetensors'):
        assert first.with_suffix(suffix).read_bytes() == second.with_suffix(suffix).read_bytes()


def test_student_and_expert(training: Path, tmp_path: Path) -> None:
    state_dict = load_checkpoint_file(training)['state_dict']
    path = export_backbone(load_checkpoint_file(training), tmp_path, which='expert')
    for file in (training, path):
        encoder, meta = load_encoder(file, 'expert')
        assert not encoder.training
        assert torch.equal(encoder.cls_token, state_dict['expert.backbone.cls_token'])
        assert meta['which'] == 'expert'
        assert meta['objectives'] == ['csm']
    assert torch.equal(load_encoder(training)[0].cls_token, state_dict['backbone.cls_token'])
    with pytest.raises(CheckpointError, match='holds the expert, not the student'):
        load_encoder(path, 'student')


def test_checkpoints_without_an_encoder(training: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint_file(training)
    bare = {'state_dict': checkpoint['state_dict'], 'meta': {}}
    with pytest.raises(CheckpointError, match='says nothing about the encoder'):
        export_backbone(bare, tmp_path)
    students = {k: v for k, v in checkpoint['state_dict'].items() if 'expert' not in k}
    with pytest.raises(CheckpointError, match=r"no key begins with 'expert.backbone.'"):
        export_backbone({**checkpoint, 'state_dict': students}, tmp_path, 'expert')
    del checkpoint['state_dict']['backbone.cls_token']
    with pytest.raises(CheckpointError, match='cls_token'):
        export_backbone(checkpoint, tmp_path)


@pytest.fixture
def run_tool(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command line tool in this process; gives its exit status."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, 'argv', ['export_backbone.py', *map(str, arguments)])
        return runpy.run_path(str(ROOT / 'tools/export_backbone.py'))['main']()

    return run


def test_command_line_prints_a_config_that_loads(
    training: Path,
    tmp_path: Path,
    run_tool: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'out'
    assert run_tool(training, '--which', 'expert', '--out', out, '--format', 'pth') == 0
    printed = capsys.readouterr().out
    path = Path(printed.splitlines()[0])
    assert path.name.startswith('run-epoch_3-expert-')
    assert [p.name for p in out.iterdir()] == [path.name]
    scope: dict[str, Any] = {}
    exec(printed[printed.index('model = dict(') :], scope)
    classifier = MMPRETRAIN_MODELS.build(scope['model'])
    classifier.init_weights()
    assert torch.equal(classifier.backbone.cls_token, load_encoder(path, 'expert')[0].cls_token)
    assert classifier(torch.zeros(2, 3, *SIZE), mode='tensor').shape == (2, 10)


def test_command_line_error_is_one_line(
    tmp_path: Path, run_tool: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'bad.pth').write_bytes(b'PK')
    assert run_tool(tmp_path / 'bad.pth') == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'bad.pth' in error


# -- loading downstream --


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
    ],
)
def test_every_tensor_has_to_match(exported: Path, edit: Any, message: str) -> None:
    checkpoint = load_checkpoint_file(exported)
    edit(checkpoint['state_dict'])
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
    with pytest.raises(WeightsError, match='no known picture size'):
        infer_grid(131, 16)


def test_snippet_of_an_encoder_whose_token_is_wider_than_its_maps() -> None:
    encoder = {'type': 'saip.TimmEncoder', 'model': 'mobilenetv4_conv_small'}
    meta = {
        'architecture': {**encoder, 'img_size': [64, 32], 'grid': [4, 2]},
        'embed_dims': 1280,
        'statistics': {'mean': [0.0], 'std': [1.0]},
    }
    scope: dict[str, Any] = {}
    exec(config_snippet('a.pth', meta), scope)
    classifier = MMPRETRAIN_MODELS.build(scope['model']).eval()
    assert classifier(torch.zeros(2, 3, *SIZE), mode='tensor').shape == (2, 10)
