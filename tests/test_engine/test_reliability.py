"""Files of a run: finite, of this run, in this folder, and named when a disk is full."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError
from saip.engine import launch
from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from saip.engine.hooks.preemption import SIGNALS
from saip.engine.resume import newest_checkpoint
from saip.errors import InputError, StoppedError
from tests import toy_run

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
KEEP = 'default_hooks.checkpoint.max_keep_ckpts'


class Poison:
    """Makes a weight NaN after so many iterations, behind the back of every guard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, iterations: int) -> None:
        self.left = iterations
        step = torch.optim.SGD.step

        def poisoned(optimizer, *args, **kwargs):
            step(optimizer, *args, **kwargs)
            if optimizer.param_groups[0]['params'][0].grad is not None:
                self.left -= 1
            if self.left == 0:
                optimizer.param_groups[0]['params'][0].data.fill_(float('nan'))

        monkeypatch.setattr(torch.optim.SGD, 'step', poisoned)


def written(work: Path) -> list[str]:
    return sorted(path.name for path in work.glob('*.pth'))


def poison_file(path: Path, key: str) -> None:
    checkpoint = torch.load(path, weights_only=True)
    tensors = checkpoint[key]
    if key == 'optimizer':
        tensors = tensors['state'][0]
        key = 'momentum_buffer'
    else:
        key = 'layer.weight'
    tensors[key].fill_(float('inf'))
    torch.save(checkpoint, path)


@pytest.mark.parametrize('epoch', [2, 3])
def test_a_poisoned_run_saves_nothing_and_fails(toy_config, tmp_path, monkeypatch, epoch):
    """In the last step of an epoch, and of the training, no loss shows it any more."""
    Poison(monkeypatch, 2 * epoch)
    listening = [signal.getsignal(name) for name in SIGNALS]
    with pytest.raises(StoppedError, match=r'not finite .* state_dict\.layer\.weight') as error:
        launch.train(toy_config(**{KEEP: 1}))
    assert [signal.getsignal(name) for name in SIGNALS] == listening
    good = f'epoch_{epoch - 1}.pth'
    assert good in str(error.value)
    assert written(tmp_path / 'work') == [good]
    assert newest_checkpoint(tmp_path / 'work')[0].name == good


@pytest.mark.parametrize('key', ['state_dict', 'optimizer'])
def test_a_poisoned_file_is_not_resumed(toy_config, tmp_path, capsys, key):
    momentum = {'optim_wrapper.optimizer.momentum': 0.9}
    launch.train(toy_config(**momentum), options={'train_cfg.max_epochs': 2})
    work = tmp_path / 'work'
    poison_file(work / 'epoch_2.pth', key)
    capsys.readouterr()
    launch.train(toy_config(**momentum), resume='auto')
    out, err = capsys.readouterr()
    assert f'skipping {work}/epoch_2.pth' in err
    assert '1 tensors are not finite' in err
    assert f'resuming {work}/epoch_1.pth: 1 epochs, 2 iterations done' in out
    poison_file(work / 'epoch_3.pth', key)
    with pytest.raises(CheckpointError, match='not finite'):
        launch.train(toy_config(**momentum), resume=str(work / 'epoch_3.pth'))


def test_a_buffer_that_is_infinite_by_design_is_no_poison(toy_config, tmp_path, monkeypatch):
    build = toy_run.ToyLine.__init__

    def with_mask(self, *args, **kwargs):
        build(self, *args, **kwargs)
        self.register_buffer('mask', torch.tensor([0.0, float('-inf')]))

    monkeypatch.setattr(toy_run.ToyLine, '__init__', with_mask)
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    launch.train(toy_config(), resume='auto')
    assert written(tmp_path / 'work') == ['epoch_2.pth', 'epoch_3.pth']


def test_a_checkpoint_too_many_of_a_killed_run_is_removed(toy_config, tmp_path, monkeypatch):
    work = tmp_path / 'work'

    class KilledError(Exception):
        pass

    def killed(self, *args):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr('saip.engine.kept_checkpoints.KeptCheckpoints.add', killed)
        with pytest.raises(KilledError):
            launch.train(toy_config(**{KEEP: 1}))
    other = torch.load(work / 'epoch_1.pth', weights_only=True)
    other['meta']['run_id'] = 'another run'
    torch.save(other, work / 'epoch_7.pth')
    os.utime(work / 'epoch_7.pth', (0, 0))  # an earlier run's
    launch.train(toy_config(**{KEEP: 1}), resume='auto')
    assert written(work) == ['epoch_3.pth', 'epoch_7.pth']


def test_a_copied_folder_continues_its_own_files(toy_config, tmp_path, capsys):
    toy_run.ToyScore.scores = [1.0, 2.0, 3.0]
    best = {
        'default_hooks.checkpoint.save_best': 'score',
        'default_hooks.checkpoint.rule': 'greater',
    }
    launch.train(toy_config(**best), options={'train_cfg.max_epochs': 2})
    original, copy = tmp_path / 'work', tmp_path / 'copy'
    before = {path.name: path.read_bytes() for path in original.glob('*.pth')}
    shutil.copytree(original, copy)
    capsys.readouterr()
    launch.train(toy_config('copy', **best, work_dir=str(copy)), resume='auto')
    assert f'resuming {copy}/epoch_2.pth' in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in original.glob('*.pth')} == before
    assert written(copy) == ['best_score_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_tools_of_the_libraries_resume_the_same_file(toy_config, tmp_path, monkeypatch):
    """They ask mmengine, which reads last_checkpoint as a path from the present folder."""
    path = toy_config()
    launch.train(path, options={'train_cfg.max_epochs': 2})
    poison_file(tmp_path / 'work/epoch_2.pth', 'state_dict')
    monkeypatch.chdir('/')
    cfg = Config.fromfile(path)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner._load_from == str(tmp_path / 'work/epoch_1.pth')
    assert runner.epoch == 3


def fill_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    replace = os.replace

    def full_disk(source, target):
        if name in str(target):
            raise OSError(errno.ENOSPC, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full_disk)


def test_a_full_disk_is_told_with_both_sizes(toy_config, monkeypatch):
    fill_disk(monkeypatch, 'epoch_2')
    with pytest.raises(
        OSError, match=r'0\.\d MB were to be written, \d+\.\d MB are free'
    ) as error:
        launch.train(toy_config())
    assert 'earlier checkpoints are intact' in str(error.value)
    assert error.value.filename.endswith('epoch_2.pth')


def test_training_goes_on_to_the_next_checkpoint_if_it_is_to(
    toy_config, tmp_path, monkeypatch, capsys
):
    fill_disk(monkeypatch, 'epoch_2')
    launch.train(toy_config(**{'default_hooks.checkpoint.on_full_disk': 'continue'}))
    assert written(tmp_path / 'work') == ['epoch_1.pth', 'epoch_3.pth']
    assert 'training goes on to the next checkpoint' in ''.join(capsys.readouterr())


def test_another_answer_to_a_full_disk_is_refused():
    with pytest.raises(InputError, match="on_full_disk='wait': choose 'stop' or 'continue'"):
        AtomicCheckpointHook(on_full_disk='wait')
