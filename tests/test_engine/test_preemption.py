"""A training that is asked to stop, as its user, a scheduler or torchrun asks."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from saip.engine import launch
from saip.engine.atomic_backend import AtomicBackend
from saip.engine.hooks.preemption import SIGNALS, PreemptionHook
from saip.engine.loops import ResumableEpochLoop
from saip.errors import PreemptedError, one_line_errors
from tests import toy_run
from tests.processes import free_port, in_processes
from tests.tiny import ROOT

PACE = """
import time
from tests import toy_run

read = toy_run.ToyPoints.__getitem__
def slowly(self, index):
    time.sleep({pause})
    return read(self, index)
toy_run.ToyPoints.__getitem__ = slowly
"""


@pytest.fixture
def start(toy_config, tmp_path):
    """Start tools/train.py with a step of about 0.2 s, and wait for its first."""
    started = []
    (tmp_path / 'paced.py').write_text(PACE.format(pause=0.05))

    def begin(
        *arguments: str,
        processes: int = 1,
        wait: int = 2,
        script: bool = False,
        **changes: object,
    ) -> subprocess.Popen:
        imports = ['tests.toy_run', 'saip.engine', 'paced']
        logger = {'default_hooks.logger.interval': 1, 'train_cfg.max_epochs': 500}
        path = toy_config(**{'custom_imports.imports': imports}, **logger, **changes)
        command = [sys.executable, '-W', 'ignore']
        more = {'PORT': str(free_port()), 'PYTHON': sys.executable}
        if script:
            command = ['bash', str(ROOT / 'tools/dist_train.sh'), path, str(processes)]
        elif processes > 1:
            command += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}']
            command += ['--master_port', str(free_port())]
            arguments = (*arguments, '--launcher', 'pytorch')
        if not script:
            command += [str(ROOT / 'tools/train.py'), path]
        paths = os.pathsep.join([str(ROOT), str(tmp_path)])
        process = subprocess.Popen(
            [*command, *arguments],
            env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'} | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        process.seen = read_until(process, 'Epoch(train) ', wait)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def read_until(process: subprocess.Popen, text: str, times: int) -> str:
    seen = ''
    deadline = time.monotonic() + 300
    for line in process.stdout:
        seen += line
        times -= text in line
        if times <= 0:
            return seen
        assert time.monotonic() < deadline, seen
    raise AssertionError(seen[-3000:])


def end(process: subprocess.Popen) -> str:
    """What it prints from now on; it must end by itself."""
    text, _ = process.communicate(timeout=200)
    return text


def last_of(work: Path) -> dict:
    return torch.load(work / (work / 'last_checkpoint').read_text(), weights_only=True)


@pytest.mark.parametrize(
    'name',
    [
        'SIGTERM',
        *(pytest.param(name, marks=pytest.mark.slow) for name in ('SIGUSR1', 'SIGINT')),
    ],
)
def test_one_process_saves_and_can_be_resumed(start, tmp_path, name):
    process = start()
    process.send_signal(signal.Signals[name])
    text = end(process)
    assert process.returncode == 75, text
    assert f'train.py: stopped by {name} after' in text
    assert 'the same command with --resume goes on' in text
    assert 'Traceback' not in text
    work = tmp_path / 'work'
    done = last_of(work)['meta']['iter']
    again = start('--resume', wait=1)
    said = rf'resuming {work}/iter_{done}\.pth: \d+ epochs?, {done} iterations done'
    assert re.search(said, again.seen)
    again.send_signal(signal.SIGTERM)
    end(again)
    assert again.returncode == 75
    assert last_of(work)['meta']['iter'] > done


def test_workers_go_on_and_a_second_interrupt_leaves_at_once(start, tmp_path):
    """A terminal and a scheduler ask the workers as well."""
    process = start(
        **{'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True}
    )
    os.killpg(process.pid, signal.SIGTERM)
    text = end(process)
    assert process.returncode == 75, text
    assert 'DataLoader worker' not in text
    other = start('--work-dir', str(tmp_path / 'other'), **{'train_dataloader.batch_size': 8})
    other.send_signal(signal.SIGINT)
    read_until(other, 'SIGINT: saving a checkpoint', 1)
    other.send_signal(signal.SIGINT)
    text = end(other)
    assert other.returncode in (75, 130), text  # 75 where it had stopped by then
    assert 'Traceback' not in text


def in_a_copy(work: Callable[[], object]) -> int:
    """Exit status of a copy of this process that works as a command line and is asked once more."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    with contextlib.suppress(Exception):
        try:
            with one_line_errors():
                work()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
    for name in SIGNALS:  # as late as it can be
        os.kill(os.getpid(), name)
    os._exit(status)


def ask_at(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, *names: str
) -> None:
    """Send this process signals in a certain call of a method."""
    real, calls = getattr(owner, method), []

    def asking(self: object, *arguments: object, **options: object) -> object:
        calls.append(1)
        for name in names if len(calls) == call else ():
            os.kill(os.getpid(), signal.Signals[name])
        return real(self, *arguments, **options)

    monkeypatch.setattr(owner, method, asking)


@pytest.mark.parametrize('again', SIGNALS[:2])
def test_signals_that_come_again_change_nothing(toy_config, tmp_path, monkeypatch, again):
    """While the checkpoint is written, and after it until the process is gone."""
    ask_at(monkeypatch, ResumableEpochLoop, 'run_iter', 1, 'SIGUSR1')
    ask_at(monkeypatch, AtomicBackend, 'put', 1, again.name, 'SIGINT', again.name)
    assert in_a_copy(lambda: launch.train(toy_config())) == 75
    assert last_of(tmp_path / 'work')['meta']['iter'] == 1


@pytest.mark.usefixtures('signals_as_before', 'fresh_mmengine')
def test_a_signal_is_told_whatever_is_being_printed(monkeypatch, capfd):
    """Python refuses to print within a print, which a signal can interrupt."""

    class Printing:
        def write(self, text: str) -> None:
            raise RuntimeError('reentrant call')

    hook = PreemptionHook()
    for name in ('stdout', 'stderr'):
        monkeypatch.setattr(sys, name, Printing())
    hook._note(signal.SIGTERM, None)
    hook._note(signal.SIGUSR1, None)
    assert capfd.readouterr().err == 'SIGTERM: saving a checkpoint, then stopping\n'


@pytest.mark.usefixtures('signals_as_before', 'fresh_mmengine')
def test_a_validation_within_an_open_window_is_no_resume_point(
    toy_config, tmp_path, monkeypatch
):
    """Two steps an epoch, three to a window: the first validation stands in one."""
    ask_at(monkeypatch, toy_run.ToyScore, 'process', 1, 'SIGUSR1')
    path = toy_config(**{'optim_wrapper.accumulative_counts': 3})
    with pytest.raises(PreemptedError, match=r'after 3 of 6 iterations: saved \S+iter_3\.pth;'):
        launch.train(path)
    assert last_of(tmp_path / 'work')['meta']['epoch'] == 1


@pytest.mark.usefixtures('signals_as_before', 'fresh_mmengine')
def test_a_validation_is_cut_short_where_no_window_is_open(toy_config, tmp_path, monkeypatch):
    ask_at(monkeypatch, toy_run.ToyScore, 'process', 1, 'SIGUSR1')
    with pytest.raises(PreemptedError, match=r'after 2 of 6 iterations: saved \S+iter_2\.pth;'):
        launch.train(toy_config())
    meta = last_of(tmp_path / 'work')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 2)


@pytest.mark.parametrize('why', ['full', 'hook'])
@pytest.mark.usefixtures('signals_as_before', 'fresh_mmengine')
def test_what_was_not_saved_is_not_said_to_be(toy_config, monkeypatch, capsys, why):
    changes = {'default_hooks.checkpoint.on_full_disk': 'continue'}
    reason = 'default_hooks.checkpoint is no saip.AtomicCheckpointHook'
    if why == 'hook':
        changes = {'default_hooks.checkpoint': dict(type='CheckpointHook', _delete_=True)}
    else:
        reason = 'No space left on device (0.0 MB were to be written'

        def full(source: object, target: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, 'replace', full)
    ask_at(monkeypatch, ResumableEpochLoop, 'run_iter', 4, 'SIGTERM')
    with pytest.raises(SystemExit) as end, one_line_errors():
        launch.train(toy_config(**changes))
    assert end.value.code == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert 'stopped by SIGTERM after 4 of 6 iterations, and nothing was saved: ' in line
    assert reason in line


@pytest.mark.parametrize('error', [PreemptedError, OSError])
@pytest.mark.usefixtures('signals_as_before', 'fresh_mmengine')
def test_what_the_log_has_not_read_yet_is_written_before_the_end(
    toy_config, tmp_path, monkeypatch, error
):
    """The third step is skipped, and no line of the log is due before the run ends."""
    read = toy_run.ToyPoints.__getitem__

    def poisoned(self: toy_run.ToyPoints, index: int) -> dict:
        if index == 6 and error is OSError:
            raise OSError(errno.EIO, 'the disk is gone')
        sample = read(self, index)
        return sample | dict(inputs=sample['inputs'] * float('nan')) if index == 2 else sample

    monkeypatch.setattr(toy_run.ToyPoints, '__getitem__', poisoned)
    if error is PreemptedError:
        ask_at(monkeypatch, ResumableEpochLoop, 'run_iter', 5, 'SIGUSR1')
    options = {'default_hooks.logger.interval': 100, 'train_dataloader.batch_size': 1}
    with pytest.raises(error, match=r'after 5 of 24|the disk is gone'):
        launch.train(toy_config(**options), amp=True)
    row = json.loads((tmp_path / 'work/skipped_steps.jsonl').read_text())
    assert row['iterations'] == [3]
    if error is PreemptedError:
        hub = last_of(tmp_path / 'work')['message_hub']
        assert hub['runtime_info']['skipped_steps'] == 1
        assert hub['log_scalars']['train/loss']['history_buffer'].shape[1] == 4


def validated_unequally(config: str) -> str:
    """Train as one of two processes, of which the second has fewer batches to validate."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ['RANK'] == '1':
            ask_at(patch, ResumableEpochLoop, 'run_iter', 6, 'SIGUSR1')
        try:
            launch.train(config, launcher='pytorch')
        except PreemptedError as error:
            return str(error)
    return 'done'


@pytest.mark.slow
@pytest.mark.dist
def test_processes_agree_whatever_they_validate(toy_config, tmp_path):
    """Nine points: three batches of two in the first process, and two in the second.

    The second one is asked after a validation, in which the first has done one step more.
    """
    path = toy_config(
        **{
            'train_dataloader.batch_size': 1,
            'val_dataloader': dict(
                batch_size=2,
                dataset=dict(length=9),
                sampler=dict(round_up=False),
            ),
            'env_cfg.dist_cfg': dict(timeout=20),
        }
    )
    found = in_processes(2, tmp_path, validated_unequally, path)
    assert found[0].split(' after ')[1] == found[1].split(' after ')[1]
    assert 'after 7 of 12 iterations: saved' in found[0]


@pytest.mark.sampled(2)
@pytest.mark.dist
@pytest.mark.parametrize(
    'asked',
    ['rank', 'script', pytest.param('torchrun', marks=pytest.mark.slow)],
)
def test_all_processes_stop_after_the_same_step(start, tmp_path, asked):
    process = start(processes=2, script=asked == 'script')
    if asked == 'rank':
        os.kill(rank_1(process.pid), signal.SIGUSR1)
    elif asked == 'script':  # the schedulers repeat themselves
        for name in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
            process.send_signal(name)
    else:
        process.send_signal(signal.SIGTERM)
    text = end(process)
    if asked == 'script':
        assert process.returncode == 75, text
        assert 'Traceback' not in text
    else:
        assert process.returncode == 1 or asked == 'torchrun', text
    assert text.count('stopped by') == 2, text
    after = re.findall(r'stopped by .* after (\d+) of', text)
    assert len(set(after)) == 1, text
    assert last_of(tmp_path / 'work')['meta']['iter'] == int(after[0])


@pytest.mark.slow
@pytest.mark.dist
def test_a_stuck_process_does_not_hang_the_others(start):
    process = start(processes=2, **{'env_cfg.dist_cfg.timeout': 10})
    os.kill(rank_1(process.pid), signal.SIGSTOP)
    began = time.monotonic()
    text = end(process)
    assert process.returncode == 1, text
    assert 'Timed out' in text or 'timeout' in text.lower()
    assert time.monotonic() - began < 60


def rank_1(parent: int) -> int:
    """The second process that torchrun has started."""
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            stat = (folder / 'stat').read_text().rsplit(')', 1)[1].split()
            env = (folder / 'environ').read_bytes().split(b'\0')
        except OSError:  # gone, or another user's
            continue
        if int(stat[1]) == parent and b'RANK=1' in env:
            return int(folder.name)
    raise AssertionError(f'{parent} has no such process')
