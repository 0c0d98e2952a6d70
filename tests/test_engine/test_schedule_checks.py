"""The learning rate of a whole run: warm-ups of one step, lengths, and the largest rate."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
from mmengine.optim import LinearLR
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop

from saip.downstream.schedule import linear_warmup
from saip.engine import launch
from saip.engine.schedule_checks import check_schedule
from saip.errors import StartError
from tests.tiny import ROOT
from tests.toy_run import watch_rates

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
SHORT = ROOT / 'configs/pretrain/_base_/schedules/adamw-coslr-short.py'
REID = str(ROOT / 'configs/downstream/reid/transreid_market1501.py')
LIP = str(ROOT / 'configs/downstream/part_segmentation/schp-settings_lip.py')
COSINE = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=3, T_max=3)


def rates(toy_config, monkeypatch, schedule, **options) -> list[float]:
    """The learning rate of every step of a run of the toy model, two steps per epoch."""
    seen = watch_rates(monkeypatch)
    launch.train(toy_config(param_scheduler=schedule), options=options)
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
    assert 'has no effect and is disabled: the run begins with the full rate' in ''.join(
        capsys.readouterr()
    )


def test_longer_warmups_are_as_they_were(toy_config, monkeypatch, capsys):
    schedule = short(3, monkeypatch)
    seen = rates(toy_config, monkeypatch, schedule, **{'train_cfg.max_epochs': 3})
    assert seen == pytest.approx([1e-7, 0.1, 0.1, 0.0854, 0.05, 0.0146], abs=1e-4)
    assert 'is disabled' not in ''.join(capsys.readouterr())


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


@pytest.mark.parametrize(
    ('scale', 'factor', 'end'),
    [('0.01', 1, 1), ('0.05', 1, 1), ('0.1', 0.01, 2), ('1', 0.01, 20)],
)
def test_a_warmup_of_one_epoch_changes_nothing_and_keeps_its_place(
    scale, factor, end, monkeypatch
):
    monkeypatch.setenv('SAIP_SCHEDULE', scale)
    warmup, cosine = launch.read_config(REID).param_scheduler
    assert (warmup.type, cosine.type) == ('LinearLR', 'CosineAnnealingLR')
    assert (warmup.start_factor, warmup.end) == (factor, end)


def test_a_warmup_that_changes_nothing_changes_nothing(toy_config, monkeypatch):
    schedule = [linear_warmup(20, 0.05, start_factor=0.01), COSINE]
    seen = rates(toy_config, monkeypatch, schedule)
    assert seen == pytest.approx([0.1, 0.1, 0.075, 0.075, 0.025, 0.025])


def test_short_schedules_of_lip(monkeypatch):
    pytest.importorskip('mmseg.models')
    monkeypatch.setenv('SAIP_SCHEDULE', '0.1')
    warmup = launch.read_config(LIP).param_scheduler[0]
    assert (warmup.start_factor, warmup.end) == (1.0, 1)
    monkeypatch.setenv('SAIP_SCHEDULE', '0.01')
    with pytest.raises(StartError, match=r'SAIP_SCHEDULE=0\.01: the cycles'):
        launch.read_config(LIP)


def test_a_cosine_whose_lengths_differ_is_told_so(toy_config, capsys):
    launch.train(toy_config(param_scheduler=[{**COSINE, 'T_max': 30}]))
    said = ''.join(capsys.readouterr())
    assert 'param_scheduler.0.T_max=30, but from begin to end it is 3' in said


TAIL = [
    dict(type='LinearLR', start_factor=0.5, by_epoch=True, begin=0, end=2),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=2, end=4, T_max=2, eta_min=0.01),
    dict(type='ConstantLR', by_epoch=True, factor=1, begin=4, end=6),
]
DECAY = dict(type='CosineAnnealingMomentum', by_epoch=True, begin=0, end=6, T_max=6)


@pytest.mark.parametrize(
    'schedule',
    [
        TAIL,  # as YOLOX has it
        [dict(type='StepLR', by_epoch=True, step_size=2)],  # ends with the run
        [dict(type='ExponentialLR', gamma=0.9, end=int(1e9))],
        [dict(type='OneCycleLR', eta_max=0.01, total_steps=12, by_epoch=False)],
        [dict(type='ConstantLR', factor=0.1, begin=5, end=6), *TAIL],
        [dict(type=LinearLR, start_factor=0.1, begin=0, end=2)],  # a class
    ],
)
def test_schedules_that_mean_what_they_say_are_let_be(schedule):
    runner = runner_of(schedule, epochs=6)
    before = deepcopy(schedule)
    check_schedule(runner)
    assert runner.said == []
    assert runner.param_schedulers == before


def runner_of(schedule, epochs, text=''):
    """What the checks ask of a runner with two steps per epoch."""
    said = []
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop.dataloader, loop._max_epochs = [0, 0], epochs
    cfg = SimpleNamespace(text=text, get=lambda key: {'optimizer': {'lr': 0.1, 'type': 'SGD'}})
    runner = SimpleNamespace(
        param_schedulers=deepcopy(schedule),
        train_loop=loop,
        max_epochs=epochs,
        max_iters=2 * epochs,
        logger=SimpleNamespace(warning=said.append),
        cfg=cfg,
        said=said,
    )
    runner._train_loop, runner._max_epochs = loop, epochs
    runner._build_param_scheduler = lambda entries, optimizer: [
        PARAM_SCHEDULERS.build(
            {'end': entry.get('end', 2 * epochs), **entry},
            default_args=dict(optimizer=optimizer, epoch_length=2),
        )
        for entry in entries
    ]
    return runner


def test_every_parameter_has_lengths_of_its_own():
    """A longer schedule of the momentum does not hide a rate that ends too soon."""
    with pytest.raises(StartError, match=r'max_epochs=6, but .*\.end=3: the learning rate'):
        check_schedule(runner_of([COSINE, DECAY], epochs=6))
    short_decay = DECAY | dict(end=3, T_max=3)
    with pytest.raises(StartError, match=r'end=3: the momentum would stay'):
        check_schedule(runner_of([COSINE | dict(end=6, T_max=6), short_decay], epochs=6))


def test_a_falling_line_is_no_warmup():
    falling = dict(type='LinearLR', start_factor=1.0, end_factor=0.01, begin=0, end=3)
    with pytest.raises(StartError, match=r'param_scheduler\.0\.end=3: the learning rate'):
        check_schedule(runner_of([falling], epochs=6))


def test_schedules_of_several_optimizers_are_looked_at():
    low = dict(type='LinearLR', start_factor=0.01, end_factor=0.1, begin=0, end=6)
    one_step = dict(type='LinearLR', start_factor=0.01, begin=0, end=1)
    runner = runner_of({'a': [one_step], 'b': [low]}, epochs=6)
    runner.cfg.get = lambda key: {name: {'optimizer': {'lr': 0.1}} for name in 'ab'}
    with pytest.raises(StartError, match=r'never exceeds .*param_scheduler\.b\.0'):
        check_schedule(runner)
    assert runner.param_schedulers['a'][0]['start_factor'] == 1.0


def test_what_is_built_already_stays():
    built = object()
    runner = runner_of([], epochs=6)
    runner.param_schedulers = [built, COSINE | dict(end=6, T_max=6)]
    check_schedule(runner)
    assert runner.param_schedulers[0] is built


@pytest.mark.parametrize(
    ('text', 'said'), [('', False), ("variable('SAIP_EPOCHS', '6')", True)]
)
def test_only_a_variable_that_the_configuration_reads_is_named(text, said):
    with pytest.raises(StartError) as error:
        check_schedule(runner_of([COSINE], epochs=6, text=text))
    assert ('SAIP_EPOCHS' in str(error.value)) is said


def test_a_long_run_is_checked_at_once():
    """A cosine that overlaps a warm-up of a tenth: its first thousands of steps tell."""
    warmup = dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=30_000)
    cosine = dict(type='CosineAnnealingLR', by_epoch=False, T_max=300_000, end=300_000)
    runner = runner_of([warmup, cosine], epochs=150_000)
    steps = []
    build = runner._build_param_scheduler

    def counted(entries, optimizer):
        schedulers = build(entries, optimizer)
        step = schedulers[0].step
        schedulers[0].step = lambda: (steps.append(1), step())
        return schedulers

    runner._build_param_scheduler = counted
    check_schedule(runner)
    assert len(steps) < 20_000
