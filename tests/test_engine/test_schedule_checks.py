"""The learning rate of a whole run: warm-ups of one step, lengths, and the largest rate."""

import pytest
import torch

from saip.downstream.schedule import scaled_warmup
from saip.engine import launch
from saip.engine.start_checks import StartError
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
SHORT = ROOT / 'configs/pretrain/_base_/schedules/adamw-coslr-short.py'
REID = str(ROOT / 'configs/downstream/reid/transreid_market1501.py')
LIP = str(ROOT / 'configs/downstream/part_segmentation/schp-settings_lip.py')
COSINE = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=3, T_max=3)


def rates(toy_config, monkeypatch, schedule, **options) -> list[float]:
    """The learning rate of every step of a run of the toy model, two steps per epoch."""
    seen = []
    step = torch.optim.SGD.step

    def watched(self, *args, **kwargs):
        seen.append(self.param_groups[0]['lr'])
        return step(self, *args, **kwargs)

    path = toy_config(param_scheduler=schedule)
    original = launch._check_start

    def check_then_watch(*args):
        original(*args)
        monkeypatch.setattr(torch.optim.SGD, 'step', watched)

    monkeypatch.setattr(launch, '_check_start', check_then_watch)
    launch.train(path, options=options)
    return seen


def short(epochs: int, monkeypatch) -> list[dict]:
    monkeypatch.setenv('SAIP_EPOCHS', str(epochs))
    return launch.read_config(str(SHORT)).param_scheduler


@pytest.mark.parametrize(('epochs', 'length'), [(1, 8), (1, 4), (6, 4)])
def test_the_short_schedule_reaches_the_full_rate_however_few_the_images(
    epochs, length, toy_config, monkeypatch, capsys
):
    """One or two steps per epoch: of the warm-up one step is left, or none."""
    schedule = short(epochs, monkeypatch)
    options = {'train_cfg.max_epochs': epochs, 'train_dataloader.dataset.length': length}
    seen = rates(toy_config, monkeypatch, schedule, **options)
    assert len(seen) == epochs * length // 4
    assert seen[0] == pytest.approx(0.1)
    if len(seen) > 2:
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] < 0.02
    assert 'which is none: the run begins with the full rate' in ''.join(capsys.readouterr())


def test_longer_warmups_are_as_they_were(toy_config, monkeypatch, capsys):
    schedule = short(3, monkeypatch)
    seen = rates(toy_config, monkeypatch, schedule, **{'train_cfg.max_epochs': 3})
    assert seen == pytest.approx([1e-7, 0.1, 0.1, 0.0854, 0.05, 0.0146], abs=1e-4)
    assert 'which is none' not in ''.join(capsys.readouterr())


@pytest.mark.parametrize(
    'warmup',
    [
        dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1),
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1),
        dict(type='LinearLR', start_factor=0.01, begin=0, end=0),
        dict(type='ConstantLR', factor=0.01, by_epoch=False, begin=0, end=1),
    ],
)
def test_a_warmup_of_one_step_is_none(warmup, toy_config, monkeypatch):
    seen = rates(toy_config, monkeypatch, [warmup, COSINE])
    assert seen == pytest.approx([0.1, 0.1, 0.075, 0.075, 0.025, 0.025])


def test_a_schedule_that_never_reaches_half_of_the_rate_is_refused(toy_config):
    low = dict(type='LinearLR', start_factor=0.01, end_factor=0.1, begin=0, end=3)
    with pytest.raises(StartError, match=r'6 steps \(2 per epoch\) never exceeds 0.01, 10 %'):
        launch.train(toy_config(param_scheduler=[low]))


def test_a_trial_within_the_warmup_is_told_so(toy_config, capsys):
    warmup = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500)
    launch.train(toy_config(param_scheduler=[warmup]))
    assert 'never exceeds' in ''.join(capsys.readouterr())


@pytest.mark.parametrize(
    ('schedule', 'stated'),
    [
        (COSINE, r'param_scheduler\.0\.end=3.*T_max'),
        (dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2], end=3), r'end=3'),
        (dict(type='PolyLR', by_epoch=False, begin=0, end=6), r'end=6'),
    ],
)
def test_a_run_longer_than_its_schedule_is_refused_by_both_keys(toy_config, schedule, stated):
    path = toy_config(param_scheduler=[schedule])
    with pytest.raises(StartError, match=rf'train_cfg\.max_epochs=4, but .*{stated}'):
        launch.train(path, options={'train_cfg.max_epochs': 4})


def test_a_run_shorter_than_its_schedule_is_told_so(toy_config, capsys):
    launch.train(toy_config(param_scheduler=[COSINE]), options={'train_cfg.max_epochs': 2})
    said = ''.join(capsys.readouterr())
    assert 'train_cfg.max_epochs=2, but param_scheduler.0.end=3' in said


def test_a_warmup_may_end_before_the_run(toy_config, monkeypatch):
    warmup = dict(type='LinearLR', start_factor=0.5, by_epoch=True, begin=0, end=2)
    seen = rates(toy_config, monkeypatch, [warmup])
    assert seen == pytest.approx([0.05, 0.05, 0.1, 0.1, 0.1, 0.1])


def test_a_schedule_that_cannot_be_built_names_itself(toy_config):
    wrong = dict(type='CosineAnnealingLR', by_epoch=True, begin=3, end=3, T_max=1)
    with pytest.raises(
        StartError, match='param_scheduler cannot be built for a run of 6 steps'
    ):
        launch.train(toy_config(param_scheduler=[wrong]))


@pytest.mark.parametrize('scale', ['0.01', '0.05', '0.1', '1'])
def test_a_warmup_of_one_epoch_is_left_out_of_reid(scale, monkeypatch):
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    schedule = launch.read_config(REID).param_scheduler
    expected = scaled_warmup(20, float(scale))
    assert [entry.end for entry in schedule if entry.type == 'LinearLR'] == [expected] * (
        expected > 0
    )
    assert expected != 1


def test_short_schedules_of_lip(monkeypatch):
    pytest.importorskip('mmseg.models')
    monkeypatch.setenv('SAIP_SCHEDULE', '0.1')
    types = [entry.type for entry in launch.read_config(LIP).param_scheduler]
    assert types == ['CosineAnnealingLR', 'CosineRestartLR']
    monkeypatch.setenv('SAIP_SCHEDULE', '0.01')
    with pytest.raises(StartError, match=r'SAIP_SCHEDULE=0\.01: the cycles'):
        launch.read_config(LIP)


def test_a_cosine_whose_lengths_differ_is_told_so(toy_config, capsys):
    launch.train(toy_config(param_scheduler=[{**COSINE, 'T_max': 30}]))
    said = ''.join(capsys.readouterr())
    assert 'param_scheduler.0.T_max=30, but from begin to end it is 3' in said
