"""The short trainings of every task fit the shipped configurations."""

import runpy
import sys

import pytest

from saip.engine.launch import read_config
from tests.test_downstream.test_configs import LEAVES, read
from tests.tiny import ROOT

FOLDER = ROOT / 'configs/downstream'
CONFIGS = [path.relative_to(FOLDER).with_suffix('').as_posix() for path in LEAVES]
# The same task as another's, on a second set.
SECOND = {'reid/transreid_msmt17', 'attributes/par_petazs'}


@pytest.fixture(scope='module')
def bench() -> dict:
    """What the script defines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / 'benchmarks'))
        patch.setenv('OMP_NUM_THREADS', '1')
        found = runpy.run_path(str(ROOT / 'benchmarks/bench_tasks.py'))
        sys.modules.pop('machine')
    return found


def test_every_task_is_trained(bench):
    assert {task.config for task in bench['TASKS'].values()} == set(CONFIGS) - SECOND - SETTINGS


@pytest.mark.parametrize(
    'name',
    ['reid', 'attributes', 'pose', 'wholebody', 'humanart', 'ap10k', 'parts', 'detection'],
)
def test_options_are_of_the_configuration(bench, name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    task = bench['TASKS'][name]
    leaf = FOLDER / f'{task.config}.py'
    options = bench['options_of'](task, read(leaf))
    cfg = read_config(str(leaf), options)  # refuses a key that nothing reads
    assert cfg.train_cfg.max_epochs == task.epochs
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
