"""Checkpoints and records say by what configuration, weights and data a result was reached."""

import json
from pathlib import Path

import pytest
import torch

from saip.engine import launch
from saip.engine.launch import read_config
from saip.engine.records import (
    TRAINED,
    describe_training,
    evaluation_digest,
    find_results,
    is_encoder,
    read_result,
    training_digest,
)
from saip.errors import InputError
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
REID = str(ROOT / 'configs/downstream/reid/transreid_market1501.py')
POSE = str(ROOT / 'configs/downstream/pose/{}.py')


def records(folder: Path) -> dict[str, dict]:
    """By file name without its digest."""
    found = folder.glob('records/*.json')
    return {path.stem.rpartition('_')[0]: json.loads(path.read_text()) for path in found}


def meta(path: Path) -> dict:
    return torch.load(path, weights_only=True)['meta'][TRAINED]


def test_a_training_and_a_test_leave_a_record_each(toy_config, tmp_path):
    config = toy_config()
    launch.train(config)
    work = tmp_path / 'work'
    found = records(work)
    assert set(found) == {f'val_epoch_{n}' for n in (1, 2, 3)}
    last = found['val_epoch_3']
    assert last['metrics'] == {'score': 8.0}
    assert (last['epoch'], last['phase'], last['checkpoint']) == (3, 'val', '')
    trained = last['trained']
    assert trained == meta(work / 'epoch_3.pth')
    assert trained['configs'] == [training_digest(read_config(config))]
    assert (trained['batch'], trained['processes'], trained['epochs']) == (4, 1, 3)
    assert trained['weights'] == []
    launch.evaluate(config, str(work / 'epoch_2.pth'))
    tested = records(work / 'test')['test_epoch_2']
    assert (tested['epoch'], tested['checkpoint']) == (2, 'epoch_2.pth')
    assert tested['trained'] == trained
    assert tested['evaluation'] == evaluation_digest(read_config(config), 'test')
    assert len(find_results(tmp_path)) == 4


def test_the_same_test_again_replaces_its_record(toy_config, tmp_path):
    config = toy_config()
    launch.train(config)
    for _ in range(2):
        launch.evaluate(config, str(tmp_path / 'work/epoch_3.pth'))
    assert len(list((tmp_path / 'work/test/records').iterdir())) == 1


def test_a_resumed_run_keeps_what_it_began_with(toy_config, tmp_path):
    first = tmp_path / 'first.pth'
    launch.train(toy_config(work_dir=str(tmp_path / 'former')))
    (tmp_path / 'former/epoch_3.pth').rename(first)
    config = toy_config(load_from=str(first), **{'train_cfg.max_epochs': 2})
    launch.train(config)
    trained = meta(tmp_path / 'work/epoch_2.pth')
    (weights,) = trained['weights']
    assert (weights['key'], weights['file'], weights['epoch']) == ('load_from', 'first.pth', 3)
    assert weights[TRAINED] == meta(first)
    first.unlink()
    other = toy_config('other', **{'train_cfg.max_epochs': 3})
    launch.train(other, resume='auto')
    resumed = meta(tmp_path / 'work/epoch_3.pth')
    assert resumed['weights'] == trained['weights']
    # It was trained by two configurations, and is the result of neither.
    assert resumed['configs'] == [
        training_digest(read_config(path)) for path in (config, other)
    ]


def test_a_checkpoint_that_says_nothing_is_of_an_unknown_configuration(toy_config, tmp_path):
    config = toy_config(**{'train_cfg.max_epochs': 2})
    launch.train(config)
    path = tmp_path / 'work/epoch_2.pth'
    stored = torch.load(path, weights_only=True)
    del stored['meta'][TRAINED]
    torch.save(stored, path)
    launch.evaluate(config, str(path))
    assert records(tmp_path / 'work/test')['test_epoch_2']['trained'] is None
    launch.train(toy_config('more'), resume=str(path))
    assert meta(tmp_path / 'work/epoch_3.pth')['configs'][0] == 'unknown'


def test_another_batch_on_resuming_is_no_batch(toy_config, tmp_path):
    launch.train(toy_config(**{'train_cfg.max_epochs': 2}))
    launch.train(toy_config('more', **{'train_dataloader.batch_size': 2}), resume='auto')
    assert meta(tmp_path / 'work/epoch_3.pth')['batch'] == 0


def test_the_place_of_data_and_weights_does_not_matter(monkeypatch):
    digests = set()
    for data, init in (('data', 'none'), ('/elsewhere/people', 'weights.pth')):
        monkeypatch.setenv('SAIP_DATA', data)
        monkeypatch.setenv('SAIP_INIT', init)
        for config in (REID, POSE.format('vitpose_ap10k'), POSE.format('vitpose_humanart')):
            cfg = read_config(config)
            digests |= {training_digest(cfg), evaluation_digest(cfg, 'test')}
    assert len(digests) == 2 * 3


def test_files_of_the_data_are_the_same_in_any_place(monkeypatch, tmp_path):
    hap = str(ROOT / 'configs/pretrain/hap/hap_any-backbone_1xb256-amp-coslr_folder.py')
    digests = set()
    monkeypatch.delenv('SAIP_KEYPOINTS', raising=False)
    digests.add(training_digest(read_config(hap)))
    monkeypatch.setenv('SAIP_KEYPOINTS', 'keypoints.npz')
    digests.add(training_digest(read_config(hap)))
    assert len(digests) == 1
    digests.clear()
    text = str(ROOT / 'configs/downstream/text_reid/irra_cuhk-pedes.py')
    for folder, content in (('a', b'one'), ('b', b'one'), ('c', b'other')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'bpe.gz').write_bytes(content)
        monkeypatch.setenv('SAIP_BPE', str(tmp_path / folder / 'bpe.gz'))
        digests.add(training_digest(read_config(text)))
    assert len(digests) == 2


def test_the_encoder_of_a_config_is_recorded_where_no_variable_names_one(monkeypatch):
    monkeypatch.delenv('SAIP_BACKBONE', raising=False)
    assert describe_training(read_config(REID), 1)['encoder'] == 'vit-tiny-p16'
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    assert describe_training(read_config(REID), 1)['encoder'] == 'starnet-s3'


def test_both_files_of_text_reid_are_described(monkeypatch, tmp_path):
    for name in ('SAIP_INIT', 'SAIP_TEXT_INIT'):
        torch.save({'state_dict': {}}, tmp_path / f'{name}.pth')
        monkeypatch.setenv(name, str(tmp_path / f'{name}.pth'))
    text = str(ROOT / 'configs/downstream/text_reid/irra_cuhk-pedes.py')
    files = describe_training(read_config(text), 1)['weights']
    assert [(is_encoder(file), file['file']) for file in files] == [
        (True, 'SAIP_INIT.pth'),
        (False, 'SAIP_TEXT_INIT.pth'),
    ]


@pytest.mark.parametrize(
    ('options', 'same'),
    [
        ({'train_dataloader.num_workers': 2, 'work_dir': 'x', 'train_cfg.val_interval': 3}, True),
        ({'default_hooks.checkpoint.interval': 1, 'val_dataloader.batch_size': 3}, True),
        ({'optim_wrapper.optimizer.lr': 1e-4}, False),
        ({'train_cfg.max_epochs': 119}, False),
        ({'model.backbone.drop_path_rate': 0.2}, False),
        ({'train_dataloader.dataset.data_root': '/other'}, False),
        ({'randomness.seed': 1}, False),
    ],
)  # fmt: skip
def test_what_changes_weights_changes_the_digest(options, same):
    cfg, other = read_config(REID), read_config(REID, options)
    assert (training_digest(cfg) == training_digest(other)) is same


def test_shortened_and_other_encoders_are_others(monkeypatch):
    digests = [training_digest(read_config(REID))]
    monkeypatch.setenv('SAIP_SCHEDULE', '0.5')
    digests.append(training_digest(read_config(REID)))
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    digests.append(training_digest(read_config(REID)))
    assert len(set(digests)) == 3


def test_annotated_boxes_are_another_test_of_the_same_training():
    one, other = (
        read_config(POSE.format(n)) for n in ('vitpose_coco', 'vitpose_coco-annotated-boxes')
    )
    assert training_digest(one) == training_digest(other)
    assert evaluation_digest(one, 'test') != evaluation_digest(other, 'test')


def test_what_is_no_record_is_named(tmp_path):
    path = tmp_path / 'records/val_x.json'
    path.parent.mkdir()
    path.write_text('{"phase": "val"}')
    with pytest.raises(InputError, match=r'val_x\.json: no record of a result'):
        read_result(path)
