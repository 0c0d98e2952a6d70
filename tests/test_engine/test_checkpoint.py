import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from saip.checkpoint import write_checkpoint
from saip.engine.atomic_backend import AtomicBackend
from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from tests import toy_run

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
BEST = {
    'default_hooks.checkpoint.save_best': 'score',
    'default_hooks.checkpoint.rule': 'greater',
}


def build(tmp_path: Path, **changes: object) -> Runner:
    cfg = Config(toy_run.config(str(tmp_path / 'work')))
    cfg.merge_from_dict(changes)
    return Runner.from_cfg(cfg)


def names(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / 'work').iterdir() if p.is_file())


def test_files_load_with_weights_only_and_old_ones_are_pruned(tmp_path):
    build(tmp_path).train()
    written = [name for name in names(tmp_path) if not name.endswith('.py')]
    assert written == ['epoch_2.pth', 'epoch_3.pth', 'last_checkpoint']
    last = (tmp_path / 'work' / 'last_checkpoint').read_text()
    checkpoint = torch.load(tmp_path / 'work' / last, weights_only=True)
    assert checkpoint['meta']['epoch'] == 3
    assert set(checkpoint['state_dict']) == {'layer.weight', 'layer.bias'}
    log = checkpoint['message_hub']['log_scalars']['train/loss']['history_buffer']
    assert log.shape == (2, 6)  # values and counts of 3 epochs of 2 iterations


def test_a_validation_without_a_training_saves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(toy_run.ToyScore, 'scores', [1.0])
    assert build(tmp_path, **BEST).val() == {'score': 1.0}
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_resume_restores_the_log_and_continues_the_same_losses(tmp_path):
    # Runs of the same second would share mmengine's log unless their names differ.
    whole = build(tmp_path / 'a', experiment_name='whole')
    whole.train()
    expected = whole.message_hub.get_scalar('train/loss').data[0]
    build(tmp_path / 'b', experiment_name='first', **{'train_cfg.max_epochs': 2}).train()
    path = str(tmp_path / 'b' / 'work' / 'epoch_2.pth')
    again = dict(experiment_name='second', resume=True, load_from=path)
    resumed = build(tmp_path / 'b', **again)
    resumed.train()
    buffer = resumed.message_hub.get_scalar('train/loss')
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.data[0].tolist() == expected.tolist()


def test_best_checkpoint_is_replaced_only_by_a_better_one(tmp_path):
    toy_run.ToyScore.scores = [1.0, 3.0, 2.0]
    build(tmp_path, **BEST).train()
    assert [n for n in names(tmp_path) if n.startswith('best')] == ['best_score_epoch_2.pth']


def test_a_failed_write_leaves_the_old_checkpoints(tmp_path, monkeypatch):
    runner = build(tmp_path)
    replace = os.replace

    def full_disk(source, target):
        if 'epoch_3' in str(target):
            raise OSError(errno.ENOSPC, 'No space left on device')
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full_disk)
    with pytest.raises(OSError, match=r'earlier checkpoints are intact.*epoch_3\.pth'):
        runner.train()
    kept = names(tmp_path)
    assert {'epoch_1.pth', 'epoch_2.pth'} <= set(kept)
    assert not [n for n in kept if 'epoch_3' in n]
    assert (tmp_path / 'work' / 'last_checkpoint').read_text() == 'epoch_2.pth'


def test_a_failed_write_keeps_the_old_best(tmp_path, monkeypatch):
    toy_run.ToyScore.scores = [1.0, 2.0, 3.0]
    runner = build(tmp_path, **BEST)
    put = AtomicBackend.put

    def full_disk(self, obj, filepath):
        if 'best_score_epoch_2' in str(filepath):
            raise OSError(errno.ENOSPC, 'No space left on device')
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicBackend, 'put', full_disk)
    with pytest.raises(OSError, match='No space'):
        runner.train()
    assert 'best_score_epoch_1.pth' in names(tmp_path)


def by_backend(path: Path) -> None:
    AtomicBackend().put(b'content', path)


def by_export(path: Path) -> None:
    write_checkpoint(path, {'weight': torch.ones(2)}, {})


@pytest.mark.parametrize('write', [by_backend, by_export])
def test_a_file_is_on_the_disk_before_its_name_and_the_name_before_the_run_goes_on(
    tmp_path, monkeypatch, write
):
    done = []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(os.readlink(f'/proc/self/fd/{descriptor}'))
        sync(descriptor)

    def moved(source: Path, target: Path) -> None:
        done.append('moved')
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', synced)
    monkeypatch.setattr(os, 'replace', moved)
    write(tmp_path / 'a.pth')
    assert Path(done[0]).parent == tmp_path
    assert 'a.pth' in Path(done[0]).name
    assert done[1:] == ['moved', str(tmp_path)]


def test_misspelt_argument_is_refused_with_a_suggestion():
    with pytest.raises(TypeError, match="'max_keep_ckpt'; did you mean 'max_keep_ckpts'"):
        AtomicCheckpointHook(interval=1, max_keep_ckpt=3)


def test_unfinished_files_are_swept_at_the_start(tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'epoch_7.pth.partial').write_bytes(b'half')
    build(tmp_path).train()
    assert not list(work.glob('*.partial'))


KILLED = """
import sys, time
from saip.engine import atomic_backend
from tests import toy_run
from mmengine.config import Config
from mmengine.runner import Runner

real = atomic_backend.os.fsync
def slow(descriptor):
    # The new file is written but not yet in its place: this is where the process is killed.
    real(descriptor)
    if len(list(__import__('pathlib').Path(sys.argv[1]).glob('epoch_2.pth.partial'))):
        print('saving', flush=True)
        time.sleep(60)
atomic_backend.os.fsync = slow
Runner.from_cfg(Config(toy_run.config(sys.argv[1]))).train()
"""


def test_kill_in_the_middle_of_saving_loses_nothing(tmp_path):
    from saip.engine.resume import newest_checkpoint

    work = tmp_path / 'work'
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, '-c', KILLED, str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    )
    deadline = time.monotonic() + 120
    for line in process.stdout:
        if line.strip() == 'saving' or time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (work / 'epoch_2.pth.partial').exists()
    assert (work / 'last_checkpoint').read_text() == 'epoch_1.pth'
    found, _ = newest_checkpoint(work)
    assert found == work / 'epoch_1.pth'
    resumed = build(tmp_path, resume=True, load_from=str(found))
    resumed.train()
    assert resumed.epoch == 3
    assert not list(work.glob('*.partial'))
