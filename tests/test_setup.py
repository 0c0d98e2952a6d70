"""The set-up: its steps are done once, in two parts, and an interrupted one goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tiny import ROOT

FOLDER = ROOT / 'tools/setup'


@pytest.fixture
def install(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ('install', 'environment', 'beside', 'build_mmcv', 'torchvision_remedy'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import install

    return install


@pytest.fixture
def setup(install, tmp_path):
    venv = tmp_path / 'venv'
    (venv / '.saip').mkdir(parents=True)
    return install.Setup(venv, 'forks', False)


def numbered(install, done: list[str], failing: str = '') -> list:
    """Steps a, b, c that note that they are done."""

    def step(name):
        def act(setup):
            setup.log.write(f'output of {name}\n')
            if name == failing:
                raise RuntimeError('disk full')
            done.append(name)

        return install.Step(name, 'core', (name,), act, f'advice for {name}')

    return [step(name) for name in 'abc']


def test_a_step_is_done_once(install, setup, capsys):
    done = []
    install.perform_all(setup, numbered(install, done))
    assert done == ['a', 'b', 'c']
    assert not install.pending(setup, numbered(install, done))
    out = capsys.readouterr().out
    assert [line.split()[:3] for line in out.splitlines()[:3]] == [
        ['set-up', f'[{n}/3]', name] for n, name in enumerate('abc', 1)
    ]


def test_after_a_failure_the_rest_is_done(install, setup, capsys):
    done = []
    with pytest.raises(SystemExit):
        install.perform_all(setup, numbered(install, done, failing='b'))
    error = capsys.readouterr().err
    for text in ('output of b', 'disk full', 'Set-up stopped at "b". advice for b', 'b.log'):
        assert text in error
    assert list(install.pending(setup, numbered(install, done))) == ['b', 'c']
    install.perform_all(setup, numbered(install, done))
    assert done == ['a', 'b', 'c']


def test_another_input_repeats_a_step_and_those_after_it(install, setup):
    done = []
    install.perform_all(setup, numbered(install, done))
    changed = numbered(install, done)
    changed[1] = install.replace(changed[1], inputs=('other',))
    assert list(install.pending(setup, changed)) == ['b', 'c']


def test_the_core_needs_no_compiler_and_no_downstream_library(install, setup):
    steps = list(install.steps(setup))
    core = [step.name for step in steps if step.part == 'core']
    assert core == ['venv', 'torch', 'core', 'torchvision', 'project']
    assert [step.name for step in steps][: len(core)] == core, (
        'its keys depend on no other step'
    )
    assert {'downstream', 'dev', 'compiled', 'check'} == {s.name for s in steps} - set(core)
    for stack in ('forks', 'upstream'):
        setup.stack = stack
        compiled = install.requirement_lines(install.REQUIREMENTS / f'{stack}-compiled.txt')
        # The same release, so that the compiled mmcv takes the place of the plain one.
        assert install.plain_mmcv(setup).split('==')[1] == compiled[1].split('==')[1]


def test_operators_are_compiled_beside_the_other_steps(install, setup, monkeypatch, capsys):
    events = []

    def compile_operators(setup):
        events.append('compiling')
        setup.operators_log.write_text('  [1/78] c++ one\n  [34/78] c++ two\n')
        while 'downstream' not in events:
            time.sleep(0.01)
        events.append('compiled')
        return Path('mmcv.whl')

    monkeypatch.setattr(install, 'compile_operators', compile_operators)
    monkeypatch.setattr(install.shutil, 'which', lambda name: name)
    steps = [
        install.Step('core', 'core', (), lambda setup: events.append('core')),
        install.Step('downstream', 'all', (), lambda setup: events.append('downstream')),
        install.Step(
            'compiled', 'all', (), lambda setup: events.append(str(setup.operators.result()))
        ),
    ]
    install.perform_all(setup, steps)
    assert [e for e in events if not e.startswith('comp')] == ['core', 'downstream', 'mmcv.whl']
    assert events.index('core') < events.index('compiling')
    assert events.index('downstream') < events.index('compiled')
    assert install.compiled_files(setup.operators_log) == '34/78'


def test_a_failed_compilation_shows_its_own_log(install, setup, monkeypatch, capsys):
    def compile_operators(setup):
        setup.operators_log.write_text('fatal error: Python.h\n')
        raise RuntimeError('no operators')

    monkeypatch.setattr(install, 'compile_operators', compile_operators)
    monkeypatch.setattr(install.shutil, 'which', lambda name: name)
    steps = [install.Step('compiled', 'all', (), lambda setup: setup.operators.result())]
    with pytest.raises(SystemExit):
        install.perform_all(setup, steps)
    error = capsys.readouterr().err
    assert 'fatal error: Python.h' in error
    assert 'operators.log' in error


def test_progress_lines_without_a_terminal(install, monkeypatch, capsys):
    beside = sys.modules['beside']
    monkeypatch.setattr(beside, 'SECONDS_BETWEEN_LINES', {True: 0, False: 0})
    beside.follow(lambda: time.sleep(0.5), 'set-up [1/2] torch', lambda: '(mmcv: 3/78)')
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines
    assert all('(mmcv: 3/78)' in line for line in lines)
    assert last.split()[:3] == ['set-up', '[1/2]', 'torch']
    assert 'mmcv' not in last


def test_an_interruption_ends_in_one_line_with_its_commands(tmp_path):
    """Ctrl-C ends what the commands have started, too, and leaves no stamp."""
    script = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import install
import signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
def act(setup):
    setup.run('sh', '-c', 'sleep 60 & echo $! > {tmp_path}/child; wait')
install.steps = lambda setup: [install.Step('slow', 'core', (), act)]
Path('{tmp_path}/venv/.saip').mkdir(parents=True)
sys.argv = ['install.py', '--venv', '{tmp_path}/venv']
install.main()
"""
    process = subprocess.Popen(
        [sys.executable, '-c', script], stderr=subprocess.PIPE, text=True
    )
    child = tmp_path / 'child'
    while not (child.is_file() and child.read_text().strip()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.split('\n') == [
        '',
        'set-up interrupted; the same command goes on from there',
        '',
    ]
    assert not list((tmp_path / 'venv/.saip').glob('*.stamp'))
    deadline = time.monotonic() + 10
    while is_alive(int(child.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(child.read_text()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def find_python(venv: Path, *given: str, **environment: str) -> str:
    return subprocess.run(
        [ROOT / 'tools/setup/find_python.sh', venv, *given],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason='Python of no virtual environment')
def test_an_activated_environment_is_not_made_of_itself(tmp_path):
    activated = os.pathsep.join([str(Path(sys.prefix, 'bin')), os.environ['PATH']])
    found = find_python(tmp_path / 'none', PATH=activated)
    assert Path(found).resolve() == Path(sys.executable).resolve()
    assert not Path(found).is_relative_to(sys.prefix)


@pytest.mark.parametrize('version', ['3.10', '3.11', '3.12'])
def test_an_environment_stays_with_the_python_that_it_was_made_with(tmp_path, version):
    """Another Python may come first in PATH, as when pyenv is not active."""
    maker = find_or_skip(version)
    venv = tmp_path / 'venv'
    subprocess.run([maker, '-m', 'venv', '--without-pip', venv], check=True)
    first = tmp_path / 'first/python3.11'
    first.parent.mkdir()
    first.write_text(f'#!/bin/sh\necho {first}\n')  # answers whatever it is asked
    first.chmod(0o755)
    path = f'{first.parent}:{os.environ["PATH"]}'
    found = find_python(venv, PATH=path)
    assert Path(found).resolve() == Path(maker).resolve()
    assert not Path(found).is_relative_to(venv)
    assert find_python(tmp_path / 'none', PATH=path) == str(first)
    assert find_python(venv, str(first), PATH=path) == str(first)
    (venv / 'bin/python').unlink()  # a broken environment is made anew
    assert find_python(venv, PATH=path) == str(first)


def find_or_skip(version: str) -> str:
    """Path of a Python of this version that can make environments."""
    found = shutil.which(f'python{version}')
    code = 'import sys, venv, ensurepip; print(sys._base_executable)'
    if found is not None:
        done = subprocess.run([found, '-c', code], capture_output=True, text=True)
        if done.returncode == 0 and not Path(done.stdout.strip()).is_relative_to(sys.prefix):
            return done.stdout.strip()
    return pytest.skip(f'no usable Python {version} here')
