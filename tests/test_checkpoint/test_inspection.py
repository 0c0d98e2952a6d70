"""What a file is said to hold is what was put into it."""

import pytest
import torch

from saip.checkpoint import CheckpointError, export_backbone, load_checkpoint_file
from saip.checkpoint.inspection import inspect_file
from saip.errors import MissingFileError
from tests.test_checkpoint.checkpoint_files import small_encoder
from tests.tools import call_tool

TOOL = 'analysis_tools/inspect_checkpoint.py'


def rows(found) -> dict[str, str]:
    return {name.strip(): value for name, value in found.rows}


def test_a_training_checkpoint(training):
    found = inspect_file(training)
    said = rows(found)
    assert found.kind == 'pretraining'
    assert said['epoch'].startswith('3, step 30')
    assert said['encoder'].startswith("saip.ViTEncoder (arch={'embed_dims': 16")
    assert said['method'].startswith('saip (csm')
    count = sum(value.numel() for value in small_encoder().state_dict().values())
    assert said['backbone'] == said['expert.backbone'] == f'{count:,}'
    assert said['objectives.csm'] == '4'
    assert said['numbers'].startswith(f'{2 * count + 4:,} in ')
    assert said['not finite'] == 'none'
    assert found.commands == [
        f'python tools/train.py CONFIG --resume {training}',
        f'python tools/export_backbone.py {training}',
        f'python tools/eval_frozen.py {training} IMAGES',
    ]


def test_the_end_of_the_schedule_and_the_metrics(training):
    checkpoint = load_checkpoint_file(training)
    checkpoint['meta']['cfg'] += (
        '\ntrain_cfg = dict(max_epochs=8)\n'
        "param_scheduler = [dict(type='LinearLR', end=2), dict(type='CosineAnnealingLR', end=7)]\n"
    )
    history = {'history_buffer': torch.tensor([[0.25, 0.5], [1, 1]]), 'max_length': 9}
    checkpoint['message_hub']['log_scalars']['val/mAP'] = history
    torch.save(checkpoint, training)
    said = rows(inspect_file(training))
    assert said['epoch'] == '3, step 30 of 8 epochs; schedule to 7'
    assert said['val/mAP'] == '0.5'


@pytest.mark.parametrize('kind', ['pth', 'safetensors'])
def test_an_exported_backbone(training, tmp_path, kind):
    path = export_backbone(
        load_checkpoint_file(training), tmp_path / 'out', 'expert', formats=(kind,)
    )
    found = inspect_file(path)
    said = rows(found)
    assert found.kind == 'backbone'
    assert said['network'] == 'expert'
    assert said['of tensors'].startswith(load_checkpoint_file(path)['meta']['tensors_sha256'])
    assert said['types'].endswith(' float32')
    assert found.commands[1] == f'SAIP_INIT={path} python tools/train.py CONFIG'


def test_the_best_of_a_training_cannot_be_resumed(training):
    checkpoint = load_checkpoint_file(training)
    del checkpoint['optimizer']
    torch.save(checkpoint, training)
    found = inspect_file(training)
    assert found.kind == 'weights'
    assert 'cannot be resumed' in rows(found)['kind']
    assert not any('--resume' in command for command in found.commands)


def test_a_checkpoint_of_a_fine_tuning(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    content = {
        'meta': {'cfg': "model = dict(type='ImageClassifier')\n", 'epoch': 1, 'iter': 7},
        'state_dict': {'head.weight': torch.ones(2, 3, dtype=torch.bfloat16)},
        'optimizer': {},
        'message_hub': {},
    }
    torch.save(content, path)
    found = inspect_file(path)
    said = rows(found)
    assert (found.kind, said['model'], said['head']) == ('training', 'ImageClassifier', '6')
    assert said['types'] == '1 bfloat16'
    assert f'python tools/test.py CONFIG {path}' in found.commands


@pytest.mark.parametrize('nested', [True, False])
def test_a_foreign_file(tmp_path, nested):
    weights = {'fc.weight': torch.ones(3)}
    torch.save({'model': weights, 'args': 'x'} if nested else weights, tmp_path / 'other.pth')
    found = inspect_file(tmp_path / 'other.pth')
    assert found.kind == 'foreign'
    assert rows(found)['fc'] == '3'
    assert all('model_converters' in command for command in found.commands)


@pytest.mark.parametrize('place', ['state_dict', 'optimizer'])
def test_what_is_not_finite_is_named_and_nothing_is_recommended(training, place):
    checkpoint = load_checkpoint_file(training)
    broken = torch.tensor([1.0, float('nan')])
    if place == 'state_dict':
        checkpoint['state_dict']['objectives.csm.head.center'] = broken
    else:
        checkpoint['optimizer']['state'] = {4: {'exp_avg': broken}}
    torch.save(checkpoint, training)
    found = inspect_file(training)
    name = {
        'state_dict': 'objectives.csm.head.center',
        'optimizer': 'optimizer: state.4.exp_avg',
    }[place]
    assert found.broken == [name]
    assert found.commands == []


class Runs:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return print, ('run',)


def test_nothing_is_run_and_bad_files_are_named(tmp_path, capsys):
    path = tmp_path / 'bad.pth'
    torch.save({'state_dict': {}, 'meta': Runs()}, path)
    with pytest.raises(CheckpointError, match=r'bad\.pth: refused'):
        inspect_file(path)
    assert 'run' not in capsys.readouterr().out
    with pytest.raises(MissingFileError):
        inspect_file(tmp_path / 'absent.pth')


def test_the_command(training, monkeypatch, capsys):
    assert call_tool(monkeypatch, TOOL, training) == 0
    out = capsys.readouterr().out
    assert 'training checkpoint of a pretraining' in out
    assert f'--resume {training}' in out
    checkpoint = load_checkpoint_file(training)
    checkpoint['state_dict']['objectives.csm.head.center'].fill_(float('inf'))
    torch.save(checkpoint, training)
    assert call_tool(monkeypatch, TOOL, training) == 1
    assert 'nothing should begin with this file' in capsys.readouterr().out
    assert call_tool(monkeypatch, TOOL, training.with_name('absent.pth')) == 2
