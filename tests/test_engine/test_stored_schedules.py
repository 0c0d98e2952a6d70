"""What a resumed run does with the schedules of its checkpoint, and what it is told."""

import pytest
import torch

from saip.engine import launch
from tests.toy_run import watch_rates

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
WARMUP = dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2)
COSINE = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=3, T_max=3)
KEEP = {'default_hooks.checkpoint.max_keep_ckpts': -1}


def first_epoch(toy_config, tmp_path, schedule) -> str:
    launch.train(toy_config(param_scheduler=schedule, **KEEP))
    return str(tmp_path / 'work/epoch_1.pth')


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        ([COSINE], 'has 1 schedules, and the checkpoint the states of 2'),
        ([COSINE, WARMUP], r'param_scheduler\.0 is a CosineAnnealingLR here, .*another kind'),
    ],
)
def test_states_of_other_schedules_are_refused(toy_config, tmp_path, schedule, message):
    """mmengine would write the state of the warm-up into the cosine."""
    path = first_epoch(toy_config, tmp_path, [WARMUP, COSINE])
    with pytest.raises(launch.StartError, match=message):
        launch.train(toy_config(param_scheduler=schedule), resume=path)


def test_the_rate_of_a_resumed_run_is_the_stored_schedules(
    toy_config, tmp_path, monkeypatch, capsys
):
    path = first_epoch(toy_config, tmp_path, [WARMUP, COSINE])
    rates = watch_rates(monkeypatch)
    longer = [WARMUP, COSINE | dict(end=6, T_max=6)]
    launch.train(
        toy_config(param_scheduler=longer), resume=path, options={'train_cfg.max_epochs': 6}
    )
    said = ''.join(capsys.readouterr())
    assert 'which is ignored: the schedule in the checkpoint is used' in said
    assert 'the schedule in the checkpoint ends with epoch 3, the run with 6' in said
    assert len({*rates[4:]}) == 1  # epochs 4 to 6 at the last value


def test_a_resumed_run_as_it_was_is_not_worth_a_word(toy_config, tmp_path, capsys):
    path = first_epoch(toy_config, tmp_path, [WARMUP, COSINE])
    capsys.readouterr()
    launch.train(toy_config(param_scheduler=[WARMUP, COSINE]), resume=path)
    said = [line for line in ''.join(capsys.readouterr()).splitlines() if 'WARNING' in line]
    assert not [line for line in said if 'schedule' in line or 'steps' in line]


def test_a_warmup_of_one_step_resumes_as_it_was_trained(toy_config, tmp_path, monkeypatch):
    one_step = WARMUP | dict(end=1)
    path = first_epoch(toy_config, tmp_path, [one_step, COSINE])
    rates = watch_rates(monkeypatch)
    launch.train(toy_config(param_scheduler=[one_step, COSINE]), resume=path)
    assert rates == pytest.approx([0.075, 0.075, 0.025, 0.025])


def test_a_rate_that_an_earlier_version_left_at_its_first_factor_is_refused(
    toy_config, tmp_path
):
    path = first_epoch(toy_config, tmp_path, [WARMUP | dict(end=1), COSINE])
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint['param_schedulers'][0]['total_iters'] == 0
    checkpoint['param_schedulers'][0]['start_factor'] = 0.01  # as mmengine alone would have it
    torch.save(checkpoint, path)
    with pytest.raises(launch.StartError, match=r'warm-up of one step .*stays at 0\.01 of its'):
        launch.train(toy_config(param_scheduler=[WARMUP, COSINE]), resume=path)
