"""A resumed run is told when its epochs have other steps than those before."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saip.engine import counted_steps, launch
from tests.toy_run import ToyLine, watch_rates

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
            'planned for 6 steps and gets 10: it reaches its end 4 steps before the run does',
        ),
        (
            'train_dataloader.batch_size',
            8,
            '2 steps per epoch then and 1 now',
            'planned for 6 steps and gets 4: it stops at 67 % of its schedule',
        ),
        (
            'train_dataloader.dataset.length',
            16,
            '8 images then and 16 now',
            'planned for 6 steps and gets 10',
        ),
        (
            'optim_wrapper.accumulative_counts',
            2,
            '1 accumulated steps then and 2 now',
            'planned for 6 steps and gets 6: it ends with the run',
        ),
    ],
)
def test_a_difference_is_told_with_both_numbers(toy_config, capsys, option, value, said, does):
    text, _ = resumed(toy_config, capsys, **{option: value})
    assert said in text
    assert does in text
    assert 'momentum' not in text  # the toy has no expert


def test_the_rate_does_what_the_message_says(toy_config, capsys, monkeypatch):
    options = {'train_dataloader.batch_size': 2}
    _, rates = resumed(toy_config, capsys, monkeypatch=monkeypatch, **options)
    assert len(rates) == 8
    assert len({*rates[3:]}) == 1  # its end is reached 4 steps before the run's
    assert rates[3] < rates[2] < rates[1]


def test_a_rate_by_epochs_goes_on_as_planned(toy_config, capsys, monkeypatch):
    options = {'train_dataloader.batch_size': 2}
    text, rates = resumed(toy_config, capsys, BY_EPOCH, monkeypatch, **options)
    assert 'counts epochs and goes on as planned' in text
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


def test_a_pretraining_without_a_step_left_is_refused(toy_config, monkeypatch):
    """Its momentum would be 1 in every step, so its expert would never move again."""
    monkeypatch.setattr(counted_steps, 'Pretrainer', ToyLine)
    launch.train(toy_config(), options={'train_cfg.max_epochs': 2})
    options = {'train_dataloader.batch_size': 8}
    with pytest.raises(launch.StartError, match=r'has done 4 steps, .* has 3 now'):
        launch.train(toy_config(), resume='auto', options=options)


def test_checkpoints_of_earlier_versions_are_resumed_without_a_word(
    toy_config, tmp_path, capsys
):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    path = tmp_path / 'work/epoch_1.pth'
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint['meta']['counted_steps']
    torch.save(checkpoint, path)
    capsys.readouterr()
    launch.train(toy_config(), resume=str(path), options={'train_dataloader.batch_size': 2})
    assert SILENT not in ''.join(capsys.readouterr())
