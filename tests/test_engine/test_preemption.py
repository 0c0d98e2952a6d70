"""A training that is asked to stop, as its user, a scheduler or torchrun asks."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.processes import free_port
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
        *arguments: str, processes: int = 1, wait: int = 2, **changes: object
    ) -> subprocess.Popen:
        imports = ['tests.toy_run', 'saip.engine', 'paced']
        logger = {'default_hooks.logger.interval': 1, 'train_cfg.max_epochs': 500}
        path = toy_config(**{'custom_imports.imports': imports}, **logger, **changes)
        command = [sys.executable, '-W', 'ignore']
        if processes > 1:
            command += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}']
            command += ['--master_port', str(free_port())]
            arguments = (*arguments, '--launcher', 'pytorch')
        paths = os.pathsep.join([str(ROOT), str(tmp_path)])
        process = subprocess.Popen(
            [*command, str(ROOT / 'tools/train.py'), path, *arguments],
            env=os.environ | {'PYTHONPATH': paths, 'OMP_NUM_THREADS': '1'},
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
    said = rf'resuming {work}/iter_{done}\.pth: \d+ epochs, {done} iterations done'
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


@pytest.mark.dist
@pytest.mark.parametrize('asked', ['rank', pytest.param('torchrun', marks=pytest.mark.slow)])
def test_all_processes_stop_after_the_same_step(start, tmp_path, asked):
    process = start(processes=2)
    if asked == 'rank':
        os.kill(rank_1(process.pid), signal.SIGUSR1)
    else:
        process.send_signal(signal.SIGTERM)
    text = end(process)
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
