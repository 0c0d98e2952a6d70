"""A resumed run is told when its epochs have other steps than those before."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saip.engine import launch, run_size
from tests.toy_run import ToyLine

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def resumed(toy_config, capsys, **options) -> str:
    """What is said when a run of three epochs goes on after its first."""
    path = toy_config(**{'default_hooks.checkpoint.max_keep_ckpts': -1})
    launch.train(path)
    capsys.readouterr()
    first = Path(path).parent / 'work/epoch_1.pth'
    launch.train(path, resume=str(first), options=options)
    return ''.join(capsys.readouterr())


def test_a_checkpoint_holds_what_its_steps_follow_from(toy_config, tmp_path):
    launch.train(toy_config())
    meta = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)['meta']
    assert meta['run_size'] == {
        'steps_per_epoch': 2,
        'images': 8,
        'batch_size': 4,
        'processes': 1,
        'accumulated': 1,
        'planned_steps': 6,
    }


@pytest.mark.parametrize(
    ('option', 'value', 'said', 'does'),
    [
        (
            'train_dataloader.batch_size',
            2,
            '2 steps per epoch then and 4 now',
            'reaches its end',
        ),
        ('train_dataloader.batch_size', 8, '2 steps per epoch then and 1 now', 'stops at 67 %'),
        ('train_dataloader.dataset.length', 16, '8 images then and 16 now', 'reaches its end'),
        ('optim_wrapper.accumulative_counts', 2, '1 accumulated steps then and 2 now', 'go on'),
    ],
)
def test_a_difference_is_told_with_both_numbers(toy_config, capsys, option, value, said, does):
    text = resumed(toy_config, capsys, **{option: value})
    assert said in text
    assert does in text


def test_the_same_steps_are_not_worth_a_word(toy_config, capsys):
    assert 'was trained with' not in resumed(toy_config, capsys)


def test_a_finished_run_is_not_told_what_its_schedule_would_do(toy_config, capsys):
    launch.train(toy_config())
    capsys.readouterr()
    launch.train(toy_config(), resume='auto', options={'train_dataloader.batch_size': 2})
    text = ''.join(capsys.readouterr())
    assert 'was trained with' not in text
    assert 'all 3 epochs are done' in text


def test_another_division_among_processes_is_no_difference():
    one = dict(steps_per_epoch=2, images=8, batch_size=4, processes=1, accumulated=1)
    two = one | dict(batch_size=2, processes=2)
    assert run_size._of_a_step(one) == run_size._of_a_step(two)


def test_a_pretraining_without_a_step_left_is_refused(toy_config, monkeypatch):
    """Its momentum would be 1 in every step, so its expert would never move again."""
    monkeypatch.setattr(run_size, 'Pretrainer', ToyLine)
    launch.train(toy_config(), options={'train_cfg.max_epochs': 2})
    options = {'train_dataloader.batch_size': 8}
    with pytest.raises(launch.StartError, match=r'has done 4 steps, .* has 3 now'):
        launch.train(toy_config(), resume='auto', options=options)


def test_checkpoints_of_earlier_versions_are_not_compared():
    run_size.compare_sizes(SimpleNamespace(_train_loop=None), {})
