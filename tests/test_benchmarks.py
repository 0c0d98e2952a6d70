"""The short trainings of every task fit the shipped configurations."""

import importlib.util
import runpy
import sys

import pytest

from saip.engine.launch import read_config
from tests import toy_run
from tests.test_downstream.test_configs import LEAVES, read
from tests.tiny import ROOT

FOLDER = ROOT / 'configs/downstream'
CONFIGS = [path.relative_to(FOLDER).with_suffix('').as_posix() for path in LEAVES]
# The same task as another's, on a second set.
SECOND = {
    'reid/transreid_msmt17',
    'text_reid/irra_icfg-pedes',
    'attributes/par_petazs',
    'pose/vitpose_chimpact',
    'pose/vitpose_humanart-coco',
    'pose/vitpose_coco-annotated-boxes',
}
# The same with another learning rate.
RATES = {name for name in CONFIGS if name.startswith('semantic_segmentation/upernet-lr')}
# The same tasks in the settings of another code, which bench_settings.py trains.
SETTINGS = {name for name in CONFIGS if '-settings_' in name}


def definitions(script: str) -> dict:
    """What a script defines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        patch.setenv('OMP_NUM_THREADS', '1')
        found = runpy.run_path(str(ROOT / f'benchmarks/{script}.py'))
        for name in ('machine', 'bench_tasks'):
            sys.modules.pop(name, None)
    return found


@pytest.fixture(scope='module')
def bench() -> dict:
    return definitions('bench_tasks')


def test_every_task_is_trained(bench):
    assert {task.config for task in bench['TASKS'].values()} == set(
        CONFIGS
    ) - SECOND - RATES - SETTINGS


@pytest.mark.parametrize(
    'name',
    [
        'reid',
        'text',
        'attributes',
        'classes',
        'pose',
        'wholebody',
        'humanart',
        'ap10k',
        'parts',
        'parsing',
        'detection',
        'scenes',
        'objects',
    ],
)
def test_options_are_of_the_configuration(bench, name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    task = bench['TASKS'][name]
    leaf = FOLDER / f'{task.config}.py'
    options = bench['options_of'](task, read(leaf))
    cfg = read_config(str(leaf), options)  # refuses a key that nothing reads
    assert cfg.train_cfg.max_epochs == task.epochs
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'


@pytest.mark.parametrize('name', ['reid', 'attributes', 'parts', 'pose', 'detection'])
def test_former_and_present_settings_are_of_the_configuration(name, monkeypatch):
    compared = definitions('bench_settings')['COMPARISONS'][name]
    monkeypatch.setenv('SAIP_BACKBONE', compared.encoder)
    monkeypatch.setenv('SAIP_SCHEDULE', str(compared.share))
    found = []
    for settings in (compared.former, compared.present):
        leaf = FOLDER / f'{settings.config}.py'
        options = {**compared.size(read(leaf)), **settings.options}
        cfg = read_config(str(leaf), options)  # refuses a key that nothing reads
        found.append((cfg.optim_wrapper.to_dict(), cfg.model.to_dict(), cfg.train_dataloader))
    assert found[0] != found[1]


@pytest.fixture
def reliability(monkeypatch):
    """The script, with a training of two epochs."""
    path = ROOT / 'benchmarks/reliability.py'
    spec = importlib.util.spec_from_file_location('reliability', path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'reliability', module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'EPOCHS', 2)
    monkeypatch.setattr(toy_run.ToyPoints, '__getitem__', toy_run.ToyPoints.__getitem__)
    monkeypatch.setenv('BEGUN', '')
    monkeypatch.setattr(sys, 'argv', ['reliability.py', '--kills', '1', '--stops', '2'])
    return module


@pytest.mark.usefixtures('fresh_mmengine')
def test_promises_that_are_kept_are_no_error(reliability, capsys):
    with pytest.raises(SystemExit) as end:
        reliability.main()
    out = capsys.readouterr().out
    assert end.value.code == 0, out
    assert out.count('equal') == 3


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(lost=1), ['SIGTERM: 1 times nothing to resume']),
        (dict(most=4), ['SIGTERM: 4 checkpoints at once, where 2 are kept']),
        (dict(left=3), ['SIGTERM: 3 checkpoints left, where 2 are kept']),
        (dict(others=1), ['SIGTERM: 1 unknown exit statuses']),
        (dict(same=False), ['SIGTERM: other weights in the end']),
        ({}, []),
    ],
)
def test_a_broken_promise_is_an_error(reliability, monkeypatch, capsys, changes, said):
    kept = dict(signal='SIGTERM', stops=2, lost=0, most=3, left=2, others=0, same=True)
    outcome = reliability.Outcome(**kept | changes)
    assert outcome.broken() == said
    for name in ('slow_down', 'finish'):
        monkeypatch.setattr(reliability, name, lambda *arguments: None)
    monkeypatch.setattr(reliability, 'weights', lambda work: {})
    monkeypatch.setattr(reliability, 'trial', lambda *arguments: outcome)
    with pytest.raises(SystemExit) as end:
        reliability.main()
    assert end.value.code == bool(said)
    assert capsys.readouterr().out.count('broken: ') == 3 * len(said)
