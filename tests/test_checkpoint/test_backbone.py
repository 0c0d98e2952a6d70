"""Backbone files: what is written of a training checkpoint, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS

from saip.checkpoint import (
    CheckpointError,
    config_snippet,
    export_backbone,
    load_checkpoint_file,
    load_encoder,
    tensors_sha256,
)
from tests.test_checkpoint.checkpoint_files import ARCH, SIZE
from tests.tools import call_tool

ROOT = Path(__file__).parents[2]


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
    broken = {**checkpoint['state_dict'], 'backbone.ln1.bias': torch.full((16,), torch.inf)}
    with pytest.raises(CheckpointError, match=r'1 tensors of the student .* such as ln1.bias'):
        export_backbone({**checkpoint, 'state_dict': broken}, tmp_path)
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
        return call_tool(monkeypatch, 'export_backbone.py', *arguments)

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


@pytest.mark.parametrize(
    ('flags', 'which', 'prefix'),
    [
        ((), 'student', 'backbone.'),
        (('--which', 'student'), 'student', 'backbone.'),
        (('--which', 'expert'), 'expert', 'expert.backbone.'),
    ],
)
def test_command_line_exports_the_student_unless_told_otherwise(
    training: Path,
    tmp_path: Path,
    run_tool: Callable[..., int],
    flags: tuple[str, ...],
    which: str,
    prefix: str,
) -> None:
    out = tmp_path / 'out'
    assert run_tool(training, *flags, '--out', out, '--format', 'pth') == 0
    (path,) = out.iterdir()
    found, stored = load_checkpoint_file(path), load_checkpoint_file(training)['state_dict']
    assert found['meta']['which'] == which
    assert f'-{which}-' in path.name
    for key, value in found['state_dict'].items():
        assert torch.equal(value, stored[f'{prefix}{key.removeprefix("backbone.")}']), key
    other = {'backbone.': 'expert.backbone.', 'expert.backbone.': 'backbone.'}[prefix]
    name = 'cls_token'
    assert not torch.equal(found['state_dict'][f'backbone.{name}'], stored[f'{other}{name}'])


def test_command_line_error_is_one_line(
    tmp_path: Path, run_tool: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'bad.pth').write_bytes(b'PK')
    assert run_tool(tmp_path / 'bad.pth') == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'bad.pth' in error


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (
            ('--which', 'expert'),
            "holds no expert: no key begins with 'expert.backbone.', so its training (mae) has no "
            'expert; --which student takes the encoder that it trained',
        ),
        (
            ('--condition', '0.8'),
            'condition=0.8 (--condition): this encoder was trained without a controller; leave it '
            'out',
        ),
        (
            ('--condition', '1.5'),
            'condition (--condition): λ is a number from 0 to 1, not 1.5',
        ),
    ],
)
def test_what_a_training_does_not_have_is_named_with_its_file(
    training: Path,
    tmp_path: Path,
    run_tool: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    checkpoint = load_checkpoint_file(training)
    state = {k: v for k, v in checkpoint['state_dict'].items() if 'expert' not in k}
    meta = {**checkpoint['meta'], 'preset': 'mae'}
    path = tmp_path / 'epoch_9.pth'
    torch.save({'state_dict': state, 'meta': meta}, path)
    assert run_tool(path, *flags, '--out', tmp_path / 'out') == 2
    assert capsys.readouterr().err == f'export_backbone.py: error: {path}: {message}\n'
    assert not (tmp_path / 'out').exists()


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
