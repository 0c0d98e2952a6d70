"""A metric over the pretraining epochs, from exported backbones to an image."""

from __future__ import annotations

import json
import os

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from saip.experiments.backbone_configs import find_backbone_config
from saip.experiments.compared_encoders import (
    evaluate_compared_encoders,
    find_compared_encoders,
)
from saip.experiments.exported_backbones import find_exported_backbones
from saip.models.backbones import build_encoder
from tests.test_experiments.exported_files import BACKBONE, FRAGMENTS, export
from tests.tiny import ROOT
from tests.tools import call_tool

TOOL = ROOT / 'tools/analysis_tools/epoch_curve.py'
SETTINGS = {'batch_size': 16, 'num_workers': 0, 'device': 'cpu', 'progress': False}


def run_tool(monkeypatch, capsys, *arguments):
    status = call_tool(monkeypatch, 'analysis_tools/epoch_curve.py', *arguments)
    return status, capsys.readouterr()


# Exported files


def test_one_file_per_epoch_whatever_the_formats(run_dir):
    (run_dir / 'backbones/backbone_epoch_7.txt').write_text('no backbone')
    for named in (run_dir, run_dir / 'backbones'):
        work_dir, exports = find_exported_backbones(named)
        assert work_dir.samefile(run_dir)
        assert [e.epoch for e in exports] == [20, 100]
        assert {e.path.suffix for e in exports} == {'.pth'}
    for path in (run_dir / 'backbones').glob('*_20-*.pth'):
        path.unlink()
    assert [e.path.suffix for e in find_exported_backbones(run_dir)[1]] == [
        '.safetensors',
        '.pth',
    ]


def test_of_an_epoch_that_was_exported_twice_the_newer_counts(run_dir, capsys):
    older = find_exported_backbones(run_dir)[1][0].path
    newer = export(run_dir, 20, seed=5)
    for path in newer.parent.glob(f'{newer.stem}.*'):
        os.utime(path, (2e9, 2e9))
    assert find_exported_backbones(run_dir)[1][0].path == newer
    assert f'{older}: left out, epoch 20 was exported again' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda run: run.rename(run.with_name('moved')), r'run: no such folder; name the work'),
        (
            lambda run: (run / 'backbones').rename(run / 'other'),
            r'run: has no folder backbones/, in which',
        ),
        (
            lambda run: [path.unlink() for path in (run / 'backbones').iterdir()],
            r'backbones: no exported backbone \(\*\.pth, \*\.safetensors\); saip\.Export',
        ),
        (
            lambda run: export(run, None),
            r'backbone_epoch_None-\w+\.pth: its meta has epoch=None',
        ),
        (
            lambda run: torch.save({'state_dict': {}}, run / 'backbones/epoch_3.pth'),
            r'epoch_3\.pth: no exported backbone, its meta has no architecture',
        ),
        (
            lambda run: (run / 'backbones/cut.pth').write_bytes(b'PK\x03\x04'),
            r'cut\.pth: truncated, damaged',
        ),
        (
            lambda run: export(run, 200, {**BACKBONE, 'img_size': (128, 64)}),
            r'epoch_200-\w+\.pth: its architecture is .* a curve needs backbones of one run',
        ),
    ],
)
def test_what_is_wrong_with_a_run_is_named(run_dir, damage, message):
    damage(run_dir)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_exported_backbones(run_dir)


# Retrieval


def test_retrieval_gives_what_each_file_gives_alone(monkeypatch, capsys, run_dir, people):
    options = ('--batch-size', 16, '--workers', 0, '--device', 'cpu')
    code, said = run_tool(monkeypatch, capsys, run_dir, '--data', people, *options)
    assert code == 0, said.err
    record = json.loads((run_dir / 'epoch_curve/retrieval_market.json').read_text())
    assert [point['epoch'] for point in record['points']] == [20, 100]
    for point in record['points']:
        compared = find_compared_encoders(str(run_dir / 'backbones' / point['file']))
        alone = evaluate_compared_encoders(compared, people, **SETTINGS)
        assert point['metrics'] == pytest.approx(alone['rows'].pop('student'), abs=1e-4)
        assert list(record['references']) == list(alone['rows'])
        for name, row in alone['rows'].items():
            assert record['references'][name] == pytest.approx(row, abs=1e-4)
    # Two networks, and not the same one twice.
    first, second = (point['metrics'] for point in record['points'])
    assert first['mean_cosine'] != second['mean_cosine']
    lines = said.out.splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [['epoch', '20'], ['epoch', '100']]
    assert f'{first["mAP"]:.1f}' in lines[2]
    assert lines[-1] == str(run_dir / 'epoch_curve/retrieval_market.png')
    Image.open(lines[-1]).verify()


def test_without_labels_it_is_two_view_recall(monkeypatch, capsys, run_dir, people, tmp_path):
    arguments = ('--data', people / 'bounding_box_train', '--out', tmp_path / 'results')
    code, said = run_tool(monkeypatch, capsys, run_dir, *arguments, '--workers', 0)
    assert code == 0, said.err
    record = json.loads((tmp_path / 'results/two-view_bounding_box_train.json').read_text())
    assert all(0 <= point['metrics']['recall@1'] <= 100 for point in record['points'])
    assert not (run_dir / 'epoch_curve').exists()


def test_a_metric_that_is_not_reported_is_named(monkeypatch, capsys, run_dir, people):
    arguments = ('--data', people, '--workers', 0, '--metric', 'map')
    code, said = run_tool(monkeypatch, capsys, run_dir, *arguments)
    assert code == 2
    message = said.err.splitlines()[-1]
    assert message.startswith(
        'epoch_curve.py: error: metric map: not reported for epoch 20; choose one of '
    )
    assert 'mAP' in message


def test_all_epochs_are_read_by_the_feature_of_their_training(
    monkeypatch, capsys, people, tmp_path
):
    """Files of older versions name none; then a choice is asked for."""
    run = tmp_path / 'run'
    architecture = build_encoder(BACKBONE).architecture()
    export(run, 20, architecture=architecture, feature='patch_mean')
    arguments = (run, '--data', people, '--workers', 0)
    assert run_tool(monkeypatch, capsys, *arguments)[0] == 0
    file = run / 'epoch_curve/retrieval_market.json'
    assert json.loads(file.read_text())['settings']['feature'] == 'patch_mean'
    export(run, 100)
    code, said = run_tool(monkeypatch, capsys, *arguments)
    assert code == 2
    assert 'epoch 20 patch_mean, epoch 100 image_token), which do not' in said.err
    assert run_tool(monkeypatch, capsys, *arguments, '--feature', 'image_token')[0] == 0
    assert json.loads(file.read_text())['settings']['feature'] == 'image_token'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'one of the arguments --data --task is required'),
        (('--data', 'x', '--task', 'y'), 'not allowed with argument'),
        (('--data', 'x', '--gpus', '2'), '--gpus goes with --task'),
        (('--task', 'x', '--batch-size', '2'), '--batch-size goes with --data'),
        (('--task', 'x', '--gpus', '0'), '--gpus must be at least 1'),
    ],
)
def test_options_of_the_other_mode_are_refused(monkeypatch, capsys, arguments, message):
    code, said = run_tool(monkeypatch, capsys, 'run', *arguments)
    assert code == 2
    assert message in said.err


# The encoder's fragment


@pytest.mark.parametrize('name', ['vit-tiny-p16', 'vit-4blocks-p16', 'starnet-s3'])
def test_the_fragment_is_found_by_the_architecture(name):
    # Pretraining has other uses of an encoder than the fragment, such as the size of images.
    backbone = Config.fromfile(FRAGMENTS / f'{name}.py').backbone
    architecture = build_encoder({**backbone, 'img_size': (64, 32)}).architecture()
    assert find_backbone_config(architecture, FRAGMENTS) == name


def test_a_fragment_that_does_not_fit_is_named(monkeypatch, tmp_path):
    architecture = build_encoder(BACKBONE).architecture()
    with pytest.raises(ValueError, match=r'none of cspnext-s, .* fits the encoder .*: 48'):
        find_backbone_config(architecture, FRAGMENTS)
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-tiny-p16')
    with pytest.raises(ValueError, match=r'embed_dims is 48 in the file and 192 in the model'):
        find_backbone_config(architecture, FRAGMENTS)
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    with pytest.raises(ValueError, match=r'type is saip\.ViTEncoder in the file'):
        find_backbone_config(architecture, FRAGMENTS)
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet')
    with pytest.raises(ValueError, match=r'SAIP_BACKBONE=starnet: there is no such file'):
        find_backbone_config(architecture, FRAGMENTS)


def test_of_several_fitting_fragments_one_is_chosen_from_outside(monkeypatch, fragments):
    (fragments / 'other.py').write_text((fragments / 'tiny.py').read_text())
    architecture = build_encoder(BACKBONE).architecture()
    with pytest.raises(ValueError, match=r'other, tiny of .* set SAIP_BACKBONE to one'):
        find_backbone_config(architecture, fragments)
    monkeypatch.setenv('SAIP_BACKBONE', 'other')
    assert find_backbone_config(architecture, fragments) == 'other'
