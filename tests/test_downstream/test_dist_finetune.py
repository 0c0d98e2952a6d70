"""tools/dist_finetune.sh: variables, arguments, and what is wrong with them."""

import os
import subprocess

import pytest

from tests.tiny import ROOT

SCRIPT = str(ROOT / 'tools' / 'dist_finetune.sh')


def finetune(folder, *arguments):
    """Run the script with a Python that prints its arguments and the two variables."""
    python = folder / 'python'
    python.write_text(
        '#!/usr/bin/env bash\nprintf "%s\\n" "$SAIP_BACKBONE" "$SAIP_INIT" "$@"\n'
    )
    python.chmod(0o755)
    return subprocess.run(
        ['bash', SCRIPT, *arguments],
        env={**os.environ, 'PYTHON': str(python)},
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )


def test_the_variables_are_set_and_the_rest_is_passed_on(tmp_path):
    (tmp_path / 'encoder.pth').write_bytes(b'')
    options = ('--amp', '--cfg-options', 'optim_wrapper.optimizer.lr=1e-4')
    done = finetune(tmp_path, 'task.py', 'starnet-s3', 'encoder.pth', '4', *options)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    tool = str(ROOT / 'tools/torchrun.py')
    assert printed[:3] == ['starnet-s3', 'encoder.pth', tool]
    assert '--nproc_per_node=4' in printed
    assert printed[-6:] == ['task.py', '--launcher', 'pytorch', *options]


def test_none_stands_for_random_weights(tmp_path):
    done = finetune(tmp_path, 'task.py', 'vit-tiny-p16', 'none', '1')
    assert done.stdout.splitlines()[:2] == ['vit-tiny-p16', 'none']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('task.py', 'vit-tiny-p16', '1'), 'usage: '),
        (('task.py', 'starnet', 'none', '1'), 'no BACKBONE starnet; choose one of cspnext-s '),
        (('task.py', 'starnet-s3', 'no.pth', '1'), 'no CHECKPOINT no.pth; name a file of'),
        (('task.py', 'starnet-s3', 'none', 'two'), 'GPUS is two; give the number of processes'),
        (('task.py', 'starnet-s3', 'none', '0'), 'GPUS is 0; give the number of processes'),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, message):
    done = finetune(tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not done.stdout


def test_it_can_be_executed():
    assert os.access(SCRIPT, os.X_OK)
