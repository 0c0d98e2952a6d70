"""Names of files that are not UTF-8, in the log and on the terminal."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from saip.engine import launch
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
NAME = os.fsdecode(b'na\xffme.jpg')


@HOOKS.register_module(force=True)
class NameAFile(Hook):
    """Logs a name that UTF-8 cannot write."""

    def before_train(self, runner):
        runner.logger.warning(f'{NAME} is bad')


def test_a_line_of_the_log_holds_the_name_escaped(toy_config, capfd):
    path = toy_config(custom_hooks=[dict(type='mmengine.NameAFile')])
    launch.train(path)
    work = Path(path).parent / 'work'
    (log,) = work.glob('*/*.log')
    (line,) = [line for line in log.read_text().splitlines() if 'is bad' in line]
    assert line.endswith(r'na\udcffme.jpg is bad')
    out, err = capfd.readouterr()
    assert r'na\udcffme.jpg is bad' in out
    assert 'Logging error' not in err


def test_what_a_tool_prints_is_escaped():
    code = (
        'import os\n'
        'from saip.errors import InputError, one_line_errors\n'
        "name = os.fsdecode(b'na\\xffme.jpg')\n"
        'with one_line_errors():\n'
        '    print(name)\n'
        "    raise InputError(f'{name}\\x1b[2J: bad')\n"
    )
    # The strict handler is what a terminal has; a locale of the C kind would let bytes through.
    env = {**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'}
    run = subprocess.run(
        [sys.executable, '-c', code],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stdout == 'na\\udcffme.jpg\n'
    assert run.stderr == '-c: error: na\\udcffme.jpg\\x1b[2J: bad\n'


def test_a_file_in_another_encoding_escapes_too(tmp_path):
    from saip.engine.log_names import escape_names

    logger = logging.Logger('names')
    handler = logging.FileHandler(tmp_path / 'log', encoding='ascii')
    logger.addHandler(handler)
    escape_names(logger)
    logger.warning('Größe')
    handler.close()
    assert (tmp_path / 'log').read_text() == 'Gr\\xf6\\xdfe\n'
