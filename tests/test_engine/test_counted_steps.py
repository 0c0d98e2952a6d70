"""A resumed run is told when its epochs have other steps than those before."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saip.engine import counted_steps, launch, other_steps
from tests.toy_run import watch_rates

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
BY_STEP = dict(
    type='CosineAnnealingLR', by_epoch=True, T_max=3, end=3, convert_to_iter_based=True
)
BY_EPOCH = dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], gamma=0.5)
SILENT = 'was trained with'


def resumed(toy_config, capsys, schedule=BY_STEP, monkeypatch=None, **options):
    """What is said when a run of three epochs goes on after its first, and its rates."""
    config = {'default_hooks.checkpoint.max_keep_ckpts': -1, 'param_scheduler': [schedule]}
    path = toy_config(**config)
    launch.train(path)
    capsys.readouterr()
    first = Path(path).parent / 'work/epoch_1.pth'
    rates = [] if monkeypatch is None else watch_rates(monkeypatch)
    launch.train(path, resume=str(first), options=options)
    return ''.join(capsys.readouterr()), rates


def test_a_checkpoint_holds_what_its_steps_follow_from(toy_config, tmp_path):
    launch.train(toy_config())
    meta = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)['meta']
    assert meta['counted_steps'] == {
        'steps_per_epoch': 2,
        'images': 8,
        'batch_size': 4,
        'processes': 1,
        'accumulated': 1,
    }


@pytest.mark.parametrize(
    ('option', 'value', 'said', 'does'),
    [
        (
            'train_dataloader.batch_size',
            2,
            '2 steps per epoch then and 4 now',
            'step 2 of 6 is step 4 of 12 now',
        ),
        (
            'train_dataloader.batch_size',
            8,
            '2 steps per epoch then and 1 now',
            'step 2 of 6 is step 1 of 3 now',
        ),
        (
            'train_dataloader.dataset.length',
            16,
            '8 images then and 16 now',
            'step 2 of 6 is step 4 of 12 now',
        ),
        (
            'optim_wrapper.accumulative_counts',
            2,
            '1 accumulated steps then and 2 now',
            'The steps of an epoch are as many',
        ),
    ],
)
def test_a_difference_is_told_with_both_numbers(toy_config, capsys, option, value, said, does):
    text, _ = resumed(toy_config, capsys, **{option: value})
    assert said in text
    assert does in text


@pytest.mark.parametrize('batch', [1, 2, 8])
def test_the_rate_follows_the_images_that_were_seen(toy_config, capsys, monkeypatch, batch):
    """It is that of a whole run with the other batch, and ends where that one does."""
    options = {'train_dataloader.batch_size': batch}
    _, rates = resumed(toy_config, capsys, monkeypatch=monkeypatch, **options)
    steps = 3 * 8 // batch
    whole = [0.05 * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    assert rates == pytest.approx(whole[steps // 3 :])


def test_every_value_that_a_schedule_moves_follows(toy_config, capsys, tmp_path):
    momentum = dict(type='mmengine.LinearMomentum', start_factor=0.5, by_epoch=True, end=3)
    schedules = [BY_STEP, momentum | dict(convert_to_iter_based=True)]
    options = {
        'optim_wrapper.optimizer.momentum': 0.8,
        'default_hooks.checkpoint.max_keep_ckpts': -1,
    }
    path = toy_config(param_scheduler=schedules, **options)
    launch.train(path)
    first = tmp_path / 'work/epoch_1.pth'
    launch.train(path, resume=str(first), options={'train_dataloader.batch_size': 2})
    second = torch.load(tmp_path / 'work/epoch_2.pth', weights_only=True)
    other = toy_config(param_scheduler=schedules, work_dir=str(tmp_path / 'other'), **options)
    launch.train(other, options={'train_dataloader.batch_size': 2})
    whole = torch.load(tmp_path / 'other/epoch_2.pth', weights_only=True)
    for one, two in zip(second['param_schedulers'], whole['param_schedulers'], strict=True):
        assert one['last_step'] == two['last_step']
    for key in ('lr', 'momentum'):
        assert second['optimizer']['param_groups'][0][key] == pytest.approx(
            whole['optimizer']['param_groups'][0][key]
        )


def test_a_step_within_an_epoch_moves_with_its_images():
    # 5 of 20 steps of epoch 2 are a quarter; windows of 3 end at 45.
    assert other_steps.moved_step(2, 45, 20, 8) == 18
    assert other_steps.moved_step(2, 45, 20, 8, accumulated=4) == 20
    assert other_steps.moved_step(2, 59, 20, 8, accumulated=100) == 24
    assert other_steps.moved_step(3, 60, 20, 7) == 21


def test_schedules_of_several_optimizers_are_refused(toy_config):
    plateau = dict(type='mmengine.ReduceOnPlateauLR', monitor='score', by_epoch=True)
    path = toy_config(param_scheduler=[BY_STEP, plateau])
    launch.train(path, options={'train_cfg.max_epochs': 1})
    with pytest.raises(
        launch.StartError, match='follows a metric: resume with the former batch'
    ):
        launch.train(path, resume='auto', options={'train_dataloader.batch_size': 2})


def test_a_rate_by_epochs_goes_on_as_planned(toy_config, capsys, monkeypatch):
    options = {'train_dataloader.batch_size': 2}
    _, rates = resumed(toy_config, capsys, BY_EPOCH, monkeypatch, **options)
    assert rates == pytest.approx([0.05] * 4 + [0.025] * 4)


def test_the_same_steps_are_not_worth_a_word(toy_config, capsys):
    assert SILENT not in resumed(toy_config, capsys)[0]


def test_a_finished_run_is_not_told_what_its_schedule_would_do(toy_config, capsys):
    launch.train(toy_config())
    capsys.readouterr()
    launch.train(toy_config(), resume='auto', options={'train_dataloader.batch_size': 2})
    text = ''.join(capsys.readouterr())
    assert SILENT not in text
    assert 'all 3 epochs are done' in text


def test_another_division_among_processes_is_no_difference(monkeypatch):
    then = dict(steps_per_epoch=2, images=8, batch_size=4, processes=1, accumulated=1)
    now = then | dict(batch_size=2, processes=2)
    monkeypatch.setattr(counted_steps, 'counted_steps', lambda runner: now)
    runner = SimpleNamespace(logger=None)  # which a word would need
    checkpoint = {'meta': {'counted_steps': then, 'iter': 2, 'epoch': 1}}
    assert not counted_steps.compare_steps(runner, checkpoint)


def test_checkpoints_of_earlier_versions_follow_by_their_epochs(toy_config, tmp_path, capsys):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    path = tmp_path / 'work/epoch_1.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta']['counted_steps']
    torch.save(checkpoint, path)
    capsys.readouterr()
    launch.train(toy_config(), resume=str(path), options={'train_dataloader.batch_size': 2})
    assert 'step 2 of 6 is step 4 of 12 now' in ''.join(capsys.readouterr())
    last = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)
    assert last['meta']['iter'] == 12
