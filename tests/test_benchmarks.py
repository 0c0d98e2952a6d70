"""The short trainings of every task fit the shipped configurations."""

import runpy
import sys

import pytest

from saip.engine.launch import read_config
from tests.tiny import ROOT

CONFIGS = sorted(
    path.relative_to(ROOT / 'configs/downstream').with_suffix('').as_posix()
    for path in (ROOT / 'configs/downstream').glob('[a-z]*/*.py')
)
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
    assert {task.config for task in bench['TASKS'].values()} == set(CONFIGS) - SECOND


@pytest.mark.parametrize(
    'name',
    ['reid', 'attributes', 'pose', 'wholebody', 'humanart', 'ap10k', 'parts', 'detection'],
)
def test_options_are_of_the_configuration(bench, name, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    task = bench['TASKS'][name]
    path = str(ROOT / f'configs/downstream/{task.config}.py')
    library = dict(parts='mmseg', detection='mmdet').get(name, 'mmpretrain')
    if task.config.startswith('pose'):
        library = 'mmpose'
    pytest.importorskip(library)
    options = bench['options_of'](task, read_config(path))
    cfg = read_config(path, options)  # refuses a key that nothing reads
    assert cfg.train_cfg.max_epochs == task.epochs
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
