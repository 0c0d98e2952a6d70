import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def run(tool: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools' / tool), *arguments],
        env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
        text=True,
        capture_output=True,
        timeout=120,
    )


def error_line(done: subprocess.CompletedProcess) -> str:
    """Return the one line of an error, and see that there was no traceback."""
    assert 'Traceback' not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if ': error: ' in line]
    assert len(lines) == 1
    return lines[0]


def test_train_and_test_from_the_command_line(toy_config, tmp_path):
    config = toy_config()
    options = ['--amp', '--no-validate', '--cfg-options', 'randomness.seed=3']
    done = run('train.py', config, *options)
    assert done.returncode == 0, done.stderr
    checkpoint = tmp_path / 'work' / 'epoch_3.pth'
    assert torch.load(checkpoint, weights_only=True)['meta']['seed'] == 3
    done = run('test.py', config, str(checkpoint))
    assert done.returncode == 0, done.stderr
    assert 'score: 8.0' in done.stdout + done.stderr


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['absent.py'], 'train.py: error: absent.py: no such configuration file'),
        (['{config}', '--cfg-options', 'modle.width=2'], "did you mean 'model'?"),
        (['{config}', '--resume', 'absent.pth'], 'absent.pth'),
        (['{config}', '--resume', '{broken}'], 'broken.pth'),
        (['{config}', '--cfg-options', 'model.type=ToyLin'], 'ToyLin is not in the'),
    ],
)
def test_bad_input_is_one_line(toy_config, tmp_path, arguments, message):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'PK\x03\x04 no checkpoint')
    places = {'config': toy_config(), 'broken': str(broken)}
    done = run('train.py', *(argument.format(**places) for argument in arguments))
    assert done.returncode == 2
    assert message in error_line(done)


def test_a_loss_that_is_not_a_number_is_one_line(toy_config):
    done = run('train.py', toy_config(**{'train_dataloader.dataset.broken': 1}))
    assert done.returncode == 1
    assert 'loss_square, loss_abs not finite' in error_line(done)


@pytest.mark.sampled(2)
@pytest.mark.parametrize('checkpoint', ['absent.pth', '{broken}'])
def test_test_names_a_missing_or_corrupt_checkpoint(toy_config, tmp_path, checkpoint):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no checkpoint')
    done = run('test.py', toy_config(), checkpoint.format(broken=broken))
    assert done.returncode == 2
    assert Path(checkpoint.format(broken=broken)).name in error_line(done)


def recorder(folder: Path, name: str) -> Path:
    """Write a program that prints its arguments, one per line, instead of doing anything."""
    path = folder / name
    path.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return path


def shell(script: str, *arguments: str, **env: str) -> list[str]:
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / script), *arguments],
        env={**os.environ, **env},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_dist_scripts_pass_the_cluster_on(tmp_path):
    nodes = dict(NNODES='2', NODE_RANK='1', PORT='30000', MASTER_ADDR='10.0.0.1')
    python = str(recorder(tmp_path, 'python'))
    printed = shell('dist_train.sh', 'c.py', '8', '--amp', PYTHON=python, **nodes)
    assert printed[0] == str(ROOT / 'tools/torchrun.py')
    assert {'--nnodes=2', '--node_rank=1', '--master_port=30000'} <= set(printed)
    assert {'--master_addr=10.0.0.1', '--nproc_per_node=8'} <= set(printed)
    assert printed[-4:] == ['c.py', '--launcher', 'pytorch', '--amp']
    printed = shell('dist_test.sh', 'c.py', 'x.pth', '2', PYTHON=python)
    assert printed[-4:] == ['c.py', 'x.pth', '--launcher', 'pytorch']
    assert '--nnodes=1' in printed


def test_slurm_script_asks_for_the_right_machines(tmp_path):
    recorder(tmp_path, 'srun')
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    env = dict(PATH=path, GPUS='16', GPUS_PER_NODE='4', CPUS_PER_TASK='6')
    env['SRUN_ARGS'] = '-x bad --mem=0'
    printed = shell('slurm_train.sh', 'part', 'job', 'c.py', 'out', '--resume', **env)
    assert printed[:7] == [
        *('-p', 'part', '--job-name=job', '--gres=gpu:4', '--ntasks=16'),
        *('--ntasks-per-node=4', '--cpus-per-task=6'),
    ]
    assert printed[7:12] == ['--kill-on-bad-exit=0', '--wait=120', '-x', 'bad', '--mem=0']
    expected = ['c.py', '--work-dir', 'out', '--launcher', 'slurm', '--resume']
    assert printed[-6:] == expected


@pytest.mark.parametrize(
    ('status', 'job', 'queued'), [(75, '1234', True), (75, '', False), (1, '1234', False)]
)
def test_a_batch_job_that_has_saved_is_queued_again(tmp_path, status, job, queued):
    for name, line in (('srun', f'exit {status}'), ('scontrol', 'echo "scontrol $*"')):
        stand_in = tmp_path / name
        stand_in.write_text(f'#!/bin/sh\n{line}\n')
        stand_in.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    done = subprocess.run(
        ['bash', str(ROOT / 'tools/slurm_train.sh'), 'part', 'job', 'c.py', 'out'],
        env={**os.environ, 'PATH': path, 'SLURM_JOB_ID': job},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == status
    assert ('scontrol requeue 1234' in done.stdout) is queued


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGUSR1'])
def test_a_batch_script_that_is_asked_to_stop_asks_its_run(tmp_path, name):
    """It waits for the run, which takes a while to save, and is asked again meanwhile."""
    save = "trap 'sleep 0.3; exit 75' USR1\ntouch begun\nwhile :; do sleep 0.05; done"
    for program, lines in (('srun', save), ('scontrol', 'echo "scontrol $*"')):
        stand_in = tmp_path / program
        stand_in.write_text(f'#!/bin/sh\n{lines}\n')
        stand_in.chmod(0o755)
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    process = subprocess.Popen(
        ['bash', str(ROOT / 'tools/slurm_train.sh'), 'part', 'job', 'c.py', 'out'],
        env={**os.environ, 'PATH': path, 'SLURM_JOB_ID': '1234'},
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
    )
    while not (tmp_path / 'begun').exists():
        time.sleep(0.01)
    for _ in range(2):
        process.send_signal(signal.Signals[name])
        time.sleep(0.1)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 75
    assert 'scontrol requeue 1234' in out


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh'])
def test_scripts_without_arguments_show_their_usage(script):
    done = subprocess.run(
        ['bash', str(ROOT / 'tools' / script)], text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert 'usage: ' in done.stderr
