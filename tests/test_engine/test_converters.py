"""The release's names: every key has a place, and the way back gives it again."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch

from saip.checkpoint import CheckpointError, load_checkpoint_file, load_encoder
from saip.engine.converters import convert_release, release_architecture, revert_release
from tests.tools import call_tool

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/model_converters/release_to_saip.py'
WIDTH, DECODER, DEPTH, OUT = 64, 32, 9, 6


def _linear(name: str, outputs: int, inputs: int) -> dict[str, torch.Tensor]:
    return {
        f'{name}.weight': torch.randn(outputs, inputs),
        f'{name}.bias': torch.randn(outputs),
    }


def _norm(name: str, width: int) -> dict[str, torch.Tensor]:
    return {f'{name}.weight': torch.randn(width), f'{name}.bias': torch.randn(width)}


def _mlp(name: str, width: int) -> dict[str, torch.Tensor]:
    return {
        **_linear(f'{name}.mlp.fc1', 4 * width, width),
        **_linear(f'{name}.mlp.fc2', width, 4 * width),
    }


def _block(name: str, width: int) -> dict[str, torch.Tensor]:
    return {
        **_norm(f'{name}.norm1', width),
        **_linear(f'{name}.attn.qkv', 3 * width, width),
        **_linear(f'{name}.attn.proj', width, width),
        **_norm(f'{name}.norm2', width),
        **_mlp(name, width),
    }


def _blocks(name: str, number: int, width: int) -> dict[str, torch.Tensor]:
    result: dict[str, torch.Tensor] = {}
    for i in range(number):
        result |= _block(f'{name}.{i}', width)
    return result


def _encoder() -> dict[str, torch.Tensor]:
    return {
        'backbone.cls_token': torch.randn(1, 1, WIDTH),
        'backbone.pos_embed': torch.randn(1, 129, WIDTH),
        'backbone.patch_embed.proj.weight': torch.randn(WIDTH, 3, 16, 16),
        'backbone.patch_embed.proj.bias': torch.randn(WIDTH),
        **_blocks('backbone.blocks', DEPTH, WIDTH),
        **_norm('backbone.norm', WIDTH),
        **_norm('backbone.inter_norm', WIDTH),
    }


def _projector() -> dict[str, torch.Tensor]:
    return {
        **_norm('csm_decoder.decoder_norm', WIDTH),
        **_linear('csm_decoder.mlp.0', 8, WIDTH),
        **_linear('csm_decoder.mlp.2', 8, 8),
        **_linear('csm_decoder.mlp.4', 4, 8),
        'csm_decoder.last_layer.weight_g': torch.ones(OUT, 1),
        'csm_decoder.last_layer.weight_v': torch.randn(OUT, 4),
    }


def _decoders() -> dict[str, torch.Tensor]:
    cross = 'css_decoder.cross_atten_block'
    heads = [f'css_decoder.mask_head.{i}' for i in (0, 2, 4, 6)]
    return {
        **_linear('csr_decoder.decoder_embed', DECODER, WIDTH),
        'csr_decoder.mask_token': torch.randn(1, 1, DECODER),
        'csr_decoder.decoder_pos_embed': torch.randn(1, 129, DECODER),
        **_blocks('csr_decoder.decoder_blocks', 2, DECODER),
        **_norm('csr_decoder.decoder_norm', DECODER),
        **_linear('csr_decoder.decoder_pred', 768, DECODER),
        **_linear('css_decoder.q_decoder_embed', DECODER, WIDTH),
        **_linear('css_decoder.kv_decoder_embed', DECODER, WIDTH),
        **_blocks('css_decoder.self_atten_blocks', 2, DECODER),
        **_norm(f'{cross}.norm1', DECODER),
        f'{cross}.attn.in_proj_weight': torch.randn(3 * DECODER, DECODER),
        f'{cross}.attn.in_proj_bias': torch.randn(3 * DECODER),
        **_linear(f'{cross}.attn.out_proj', DECODER, DECODER),
        **_norm(f'{cross}.norm2', DECODER),
        **_mlp(cross, DECODER),
        **_norm('css_decoder.kv_decoder_norm', DECODER),
        **_norm('css_decoder.q_decoder_norm', DECODER),
        **_linear('css_decoder.kernel_pred', DECODER, DECODER),
        **{f'{head}.weight': torch.randn(DECODER, DECODER, 3, 3) for head in heads},
        **{f'{head}.bias': torch.randn(DECODER) for head in heads},
    }


@pytest.fixture
def release() -> dict:
    student = {**_encoder(), **_projector(), **_decoders()}
    return {
        'student': {f'module.{key}': value for key, value in student.items()},
        'teacher': {**_encoder(), **_projector(), **_decoders()},
        'csm_loss': {'center': torch.randn(1, OUT)},
        'epoch': 299,
    }


def test_values_arrive_under_our_names(release: dict) -> None:
    ours = convert_release(release)
    student, teacher = release['student'], release['teacher']
    assert (
        ours['backbone.layers.2.ffn.layers.0.0.weight']
        is (student['module.backbone.blocks.2.mlp.fc1.weight'])
    )
    assert ours['backbone.ln1.bias'] is student['module.backbone.norm.bias']
    assert ours['dense_norm.bias'] is student['module.backbone.inter_norm.bias']
    assert ours['expert.dense_norm.bias'] is teacher['backbone.inter_norm.bias']
    assert ours['expert.backbone.layers.0.ln2.bias'] is teacher['backbone.blocks.0.norm2.bias']
    assert ours['expert.csm_projector.prototypes'] is teacher['csm_decoder.last_layer.weight_v']
    assert (
        ours['objectives.csm.neck.prototypes']
        is (student['module.csm_decoder.last_layer.weight_v'])
    )
    assert ours['objectives.csm.head.center'] is release['csm_loss']['center']
    assert (
        ours['objectives.css.neck.cross_block.attn.in_proj_bias']
        is (student['module.css_decoder.cross_atten_block.attn.in_proj_bias'])
    )


def test_the_way_back_gives_everything_but_the_dropped(release: dict) -> None:
    student, teacher = revert_release(convert_release(release))
    unused = {
        'csm_decoder.decoder_norm.weight',
        'csm_decoder.decoder_norm.bias',
        'csm_decoder.last_layer.weight_g',
    }
    theirs = {key.removeprefix('module.'): v for key, v in release['student'].items()}
    assert set(theirs) - set(student) == unused
    assert all(student[key] is theirs[key] for key in student)
    assert set(teacher) == set(_encoder()) | set(_projector()) - unused
    assert all(teacher[key] is release['teacher'][key] for key in teacher)


def test_gradients_go_back_by_name() -> None:
    student, teacher = revert_release({'backbone.ln1.weight': None, 'dense_norm.bias': 2.0})
    assert student == {'backbone.norm.weight': None, 'backbone.inter_norm.bias': 2.0}
    assert teacher == {}
    with pytest.raises(CheckpointError, match=r'objectives.csr.neck.nose'):
        revert_release({'objectives.csr.neck.nose': 1})


def test_architecture_is_read_off_the_shapes(release: dict) -> None:
    ours = convert_release(release)
    architecture = release_architecture(ours)
    assert architecture['arch'] == {
        'embed_dims': 64,
        'num_layers': 9,
        'num_heads': 1,
        'feedforward_channels': 256,
    }
    assert architecture['img_size'] == [256, 128]
    assert architecture['grid'] == [16, 8]
    assert release_architecture(ours, 4, (512, 64))['grid'] == [32, 4]
    with pytest.raises(CheckpointError, match='224x224'):
        release_architecture(ours, img_size=(224, 224))


@pytest.mark.parametrize(
    ('part', 'key', 'message'),
    [
        ('student', 'module.backbone.blocks.1.attn.gate', 'unknown keys.*attn.gate'),
        ('teacher', 'head.weight', 'teacher: unknown keys.*head.weight'),
        ('csm_loss', 'temperature', 'csm_loss holds'),
    ],
)
def test_unknown_key(release: dict, part: str, key: str, message: str) -> None:
    release[part][key] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=message):
        convert_release(release)


def test_missing_key_and_block(release: dict) -> None:
    for leaf in ('weight', 'bias'):
        del release['student'][f'module.backbone.blocks.1.norm2.{leaf}']
    with pytest.raises(CheckpointError, match=r'missing keys.*backbone\.blocks\.1\.norm2'):
        convert_release(release)


def test_missing_and_unknown_part(release: dict) -> None:
    with pytest.raises(CheckpointError, match="no 'teacher'"):
        convert_release({k: v for k, v in release.items() if k != 'teacher'})
    with pytest.raises(CheckpointError, match='scaler'):
        convert_release({**release, 'scaler': {}})


def test_gains_other_than_one_are_refused(release: dict) -> None:
    release['teacher']['csm_decoder.last_layer.weight_g'][3] = 1.5
    with pytest.raises(CheckpointError, match=r'teacher csm_decoder.last_layer.weight_g'):
        convert_release(release)


def test_command_line(
    release: dict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target = tmp_path / 'release.pth', tmp_path / 'saip.pth'
    torch.save({**release, 'args': argparse.Namespace(batch_size=64)}, source)
    command = ('model_converters/release_to_saip.py', source, target)
    assert call_tool(monkeypatch, *command) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    assert 'release.pth' in error
    assert '--trust' in error
    assert call_tool(monkeypatch, *command, '--trust') == 0
    written = load_checkpoint_file(target)
    assert set(written['state_dict']) == set(convert_release(release))
    assert written['meta']['preset'] == 'saip-official'
    encoder, meta = load_encoder(target, 'expert')
    assert torch.equal(encoder.ln1.bias, release['teacher']['backbone.norm.bias'])
    assert meta['architecture']['grid'] == [16, 8]


def _dumps() -> list[Path]:
    folder = Path(os.environ.get('SAIP_PARITY', ROOT.parent / 'shared' / 'parity'))
    return sorted(folder.glob('*.pt'))


@pytest.mark.skipif(
    not _dumps(), reason='no parity dumps: SAIP_PARITY names no folder with *.pt files'
)
@pytest.mark.parametrize('path', _dumps(), ids=lambda path: path.stem)
def test_dumps_of_the_release(path: Path) -> None:
    dump = load_checkpoint_file(path)
    parts = {
        'student': dump['student_state'],
        'teacher': dump['teacher_state'],
        'csm_loss': {'center': dump['center_before']},
    }
    ours = convert_release(parts)
    student, teacher = revert_release(ours)
    config = dump['config']
    architecture = release_architecture(ours, config['num_heads'], config['img_size'])
    assert architecture['arch']['num_layers'] == config['depth']
    for back, theirs in ((student, dump['student_state']), (teacher, dump['teacher_state'])):
        assert all(torch.equal(back[key], theirs[key]) for key in back)
        dropped = {key for key in theirs if key not in back}
        assert all(key.startswith('csm_decoder.') for key in dropped)
        assert len(dropped) == 3
    gradients = {key for key, norm in dump['grad_norms'].items() if norm is not None}
    assert gradients <= set(student)
