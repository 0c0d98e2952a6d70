"""What a step ends with for want of shared memory, of files or of a second image."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import DataLoader, Dataset

from saip.engine import launch
from saip.engine.explain import explain_step, explained_worker
from saip.engine.single_values import single_values, smallest_batch
from saip.engine.worker_errors import report_unsent
from saip.errors import InputError, StoppedError
from saip.models.ops.batch_norm import CPUSyncBatchNorm
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
CFG = dict(train_dataloader=dict(num_workers=8, batch_size=256))
BUS = (
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
    'workers are out of shared memory. Please try to raise your shared memory limit.'
)
FULL = (
    'Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...\nRuntimeError: '
    'unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)'
)
GIVEN = r'lower train_dataloader\.num_workers=8 or train_dataloader\.batch_size=256'


@pytest.mark.parametrize(
    ('error', 'pattern'),
    [
        (
            RuntimeError(BUS),
            rf'^the data workers need more shared memory than .*: {GIVEN}, .*--shm',
        ),
        (RuntimeError(FULL), rf'^the data workers need more shared memory than .*: {GIVEN}'),
        (
            RuntimeError('unable to open shared memory object </torch_1>: Too many open files'),
            rf'more open files: {GIVEN}, or raise `ulimit -n`',
        ),
        (RuntimeError('received 0 items of ancdata'), r'ulimit -n'),
        (
            RuntimeError('DataLoader worker (pid(s) 1, 2) exited unexpectedly'),
            rf'\(pid\(s\) 1, 2\) exited unexpectedly\); .* memory: {GIVEN}',
        ),
        (
            RuntimeError('DataLoader worker (pid 3) is killed by signal: Killed. '),
            rf'want of memory: {GIVEN}',
        ),
    ],
)
def test_options_that_help_a_data_worker_are_named_in_one_line(error, pattern):
    line = explain_step(error, CFG, 'train_dataloader')
    assert '\n' not in line
    assert re.search(pattern, line)


@pytest.mark.parametrize(
    'error',
    [
        RuntimeError('CUDA out of memory'),
        RuntimeError('out of resource: shared memory, Required: 99, Hardware limit: 9'),
        ValueError('shared memory(shm)'),
        InputError('/data/</torch_1_2: no such file'),
        StoppedError('Too many open files'),
    ],
)
def test_other_errors_stay_what_they_are(error):
    assert explain_step(error, CFG, 'train_dataloader') is None


def test_an_error_of_a_worker_outside_a_run_is_explained_too():
    with (
        pytest.raises(StoppedError, match=r'lower num_workers=2, or start the container'),
        explained_worker('num_workers=2'),
    ):
        raise RuntimeError(FULL)
    with pytest.raises(RuntimeError, match='other'), explained_worker('num_workers=2'):
        raise RuntimeError('other')


class Unsendable(Dataset):
    """Its second sample cannot be pickled."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.zeros(2) if index != 1 else (lambda: None)


@pytest.mark.parametrize('begin', [None, print])
def test_a_batch_that_cannot_be_sent_is_an_error_and_no_endless_wait(begin, capfd):
    loader = DataLoader(
        Unsendable(), num_workers=1, collate_fn=pseudo_collate, worker_init_fn=begin, timeout=60
    )
    report_unsent(loader)
    report_unsent(loader)
    with pytest.raises(Exception, match=r"(?s)in DataLoader worker process 0.*Can't pickle"):
        list(loader)
    out, err = capfd.readouterr()
    assert out == ('' if begin is None else '0\n')
    assert 'Traceback' not in err


def shared_memory_can_be_made_small():
    """Whether a user may mount a file system of its own."""
    if shutil.which('unshare') is None:
        return False
    command = ['unshare', '-rm', 'mount', '-t', 'tmpfs', 'none', '/dev/shm']
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not shared_memory_can_be_made_small(), reason='/dev/shm cannot be changed')
@pytest.mark.slow
@pytest.mark.parametrize('collate', ['default_collate', 'pseudo_collate'])
def test_shared_memory_of_a_container_is_one_line(toy_config, collate):
    """64 MB, with two workers and batches of 80."""
    path = toy_config(
        train_dataloader=dict(
            num_workers=2,
            collate_fn=dict(type=collate),
            dataset=dict(type='mmengine.WidePoints'),
        ),
    )
    script = 'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"'
    train = [sys.executable, str(ROOT / 'tools/train.py'), path]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    run = subprocess.run(
        ['unshare', '-rm', 'sh', '-c', script, 'sh', *train],
        capture_output=True,
        text=True,
        env=env,
        cwd=Path(path).parent,
        timeout=120,
        check=False,
    )
    errors = [line for line in run.stderr.splitlines() if 'error' in line or 'Trace' in line]
    (line,) = errors
    assert line.startswith(
        'train.py: error: the data workers need more shared memory than the 64'
    )
    assert 'train_dataloader.num_workers=2 or train_dataloader.batch_size=4' in line
    assert run.returncode == 2


def pooled(norm):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.Conv2d(2, 2, 1), norm))


def test_norms_behind_a_global_pooling_are_found():
    model = nn.ModuleDict(
        dict(
            branch=pooled(nn.BatchNorm2d(2)),
            wider=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.BatchNorm2d(2)),
            group=pooled(nn.GroupNorm(1, 2)),
            before=nn.Sequential(nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1)),
        )
    )
    assert list(single_values(model)) == ['branch.1.1']
    assert not list(single_values(model.eval()))


def test_statistics_of_several_processes_are_no_single_value(monkeypatch):
    monkeypatch.setattr('saip.engine.single_values.get_world_size', lambda: 2)
    assert not list(single_values(pooled(CPUSyncBatchNorm(2))))
    assert list(single_values(pooled(nn.BatchNorm2d(2))))


@pytest.mark.parametrize(
    ('images', 'batch', 'drop_last', 'expected'),
    [(8, 4, False, 4), (9, 4, False, 1), (9, 4, True, 4), (3, 1, True, 1), (3, 4, False, 3)],
)
def test_the_smallest_batch(images, batch, drop_last, expected):
    loader = DataLoader(range(images), batch_size=batch, drop_last=drop_last)
    assert smallest_batch(loader) == expected


def normed(toy_config, **loader):
    return toy_config(model=dict(type='mmengine.NormedLine'), train_dataloader=loader)


def test_any_norm_that_sees_one_image_names_the_batch_size(toy_config):
    path = normed(toy_config, batch_size=1)
    with pytest.raises(
        launch.StartError, match=r'^train_dataloader\.batch_size=1: a BatchNorm'
    ):
        launch.train(path)


def test_a_last_batch_of_one_image_names_drop_last(toy_config):
    path = normed(toy_config, batch_size=7)
    with pytest.raises(StoppedError, match=r'batch_size=7: the last batch .*drop_last=True'):
        launch.train(path)
