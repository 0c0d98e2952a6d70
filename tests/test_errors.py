"""What ends a command line with one line, and what keeps its traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

import saip
from saip.checkpoint import CheckpointError, WeightsError
from saip.datasets.canvas import ImageError
from saip.datasets.crops import DataError
from saip.datasets.parallel import LostWorkerError
from saip.engine import launch
from saip.engine.hooks.bad_files import TooManyBadFilesError
from saip.engine.preflight import ConfigKeyError
from saip.errors import (
    InputError,
    MissingFileError,
    MissingLibraryError,
    StoppedError,
    UnknownArgumentError,
    is_bug,
    library_refusals,
    one_line,
    one_line_errors,
)
from tests.test_tools import error_line, run
from tests.tiny import ROOT

PACKAGE = Path(saip.__file__).resolve().parent
LEAF = ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'


def ours(code: str, **names: object):
    """A function ``f`` whose code looks as if it stood in the package."""
    scope = dict(names)
    exec(compile(code, str(PACKAGE / 'models/imagined.py'), 'exec'), scope)
    return scope['f']


def error_of(function, *arguments: object) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(*arguments)
    return caught.value


@pytest.mark.parametrize(
    'code',
    [
        'def f(): return {}["absent"]',
        'def f(): raise ValueError("wrong")',
        'def f(): assert False',
        'def f(): return g(absent=1)',
        'def f(): import torch; return torch.zeros(2) @ torch.zeros(3)',
    ],
)
def test_what_our_code_raises_unexpectedly_is_a_bug(code):
    error = error_of(ours(code, g=lambda: None))
    assert is_bug(error)
    with pytest.raises(type(error)), library_refusals('config.py'):
        raise error


def test_what_is_meant_for_users_is_no_bug():
    for kind in (InputError, MissingFileError, StoppedError, CheckpointError):
        assert not is_bug(error_of(ours('def f(kind): raise kind("wrong")'), kind))


def test_an_argument_that_is_only_passed_on_is_not_ours():
    passing = ours('def f(**rest): return g(**rest)', g=lambda: None)
    assert not is_bug(error_of(lambda: passing(absent=1)))
    assert is_bug(error_of(ours('def f(): return g(absent=1)', g=passing)))


def test_an_error_that_is_raised_again_is_whose_it_was_first():
    def again(function):
        try:
            function()
        except Exception as error:
            raise type(error)(f'class X: {error}') from error

    assert is_bug(error_of(again, ours('def f(): return {}["absent"]')))
    assert not is_bug(error_of(again, lambda: {}['absent']))


class Broken(Dataset):
    def __init__(self, function) -> None:
        self.function = function

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return self.function()


@pytest.mark.parametrize('bug', [True, False])
def test_an_error_of_a_data_worker_is_whose_it_was_there(bug):
    code = 'def f(): return {}["absent"]' if bug else 'def f(): raise kind("x.jpg: damaged")'
    loader = DataLoader(Broken(ours(code, kind=DataError)), num_workers=1)
    error = error_of(lambda: next(iter(loader)))
    assert is_bug(error) is bug
    if not bug:
        assert one_line(error) == 'x.jpg: damaged'


def status(error: BaseException) -> int:
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise error
    return stop.value.code


def test_wrong_input_ends_with_2_and_a_run_that_stopped_with_1(capsys):
    for kind in (CheckpointError, WeightsError, ImageError, DataError, ConfigKeyError):
        assert status(kind('wrong')) == 2
    for kind in (launch.StartError, MissingFileError, MissingLibraryError):
        assert status(kind('wrong')) == 2
    assert status(FileNotFoundError(errno.ENOENT, 'no such file', 'x.jpg')) == 2
    assert status(ModuleNotFoundError('no scipy', name='scipy')) == 2
    for kind in (TooManyBadFilesError, LostWorkerError):
        assert status(kind('stopped')) == 1
    assert status(OSError(errno.ENOSPC, 'no space', 'x.pth')) == 1
    assert all(': error: ' in line for line in capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    'error',
    [
        KeyError('absent'),
        ValueError('a bug'),
        FileNotFoundError('a bug: it names no file'),
        BrokenPipeError(),
        ModuleNotFoundError('a bug', name='saip.modles'),
    ],
)
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv('SAIP_TRACEBACK', '1')
    with pytest.raises(InputError), one_line_errors():
        raise InputError('wrong')


def test_special_kinds_are_also_the_builtin_ones():
    for kind, builtin in (
        (MissingFileError, FileNotFoundError),
        (MissingLibraryError, ImportError),
        (UnknownArgumentError, TypeError),
        (LostWorkerError, ChildProcessError),
    ):
        assert issubclass(kind, builtin)
    assert str(MissingFileError('x.jpg: no such file')) == 'x.jpg: no such file'


# Starting a run


@pytest.mark.parametrize('code', ['{}["absent"]', 'int("absent")'])
@pytest.mark.usefixtures('fresh_mmengine')
def test_a_bug_before_the_first_iteration_keeps_its_traceback(toy_config, monkeypatch, code):
    monkeypatch.setattr(launch, 'check_runner', ours(f'def f(*args): return {code}'))
    with pytest.raises((KeyError, ValueError)) as caught:
        launch.train(toy_config())
    assert not isinstance(caught.value, InputError)


@pytest.mark.usefixtures('fresh_mmengine')
def test_what_mmengine_refuses_is_wrong_input(toy_config):
    """The hook hands the rest of its arguments on, so that only building can refuse one."""
    average = dict(type='EMAHook', depth=3)
    with pytest.raises(launch.StartError, match="unexpected keyword argument 'depth'"):
        launch.train(toy_config(custom_hooks=[average]))


def test_an_unknown_arch_is_one_line_and_a_bug_of_ours_is_not(tmp_path):
    """``deit-tny`` is refused by mmpretrain while it builds our encoder."""
    options = ['--cfg-options', 'model.backbone.arch=deit-tny']
    done = run('train.py', str(LEAF), *options, '--work-dir', str(tmp_path / 'run'))
    assert done.returncode == 2
    assert 'deit-tny' in error_line(done)
    code = (
        'import runpy, sys\n'
        'import saip.models.backbones.vit as vit\n'
        'exec(compile("def f(self, *a, **k): return {}[\'absent\']", vit.__file__, "exec"))\n'
        'vit.ViTEncoder.__init__ = f\n'
        f'sys.argv = ["train.py", {str(LEAF)!r}, "--work-dir", {str(tmp_path / "bug")!r}]\n'
        f'runpy.run_path({str(ROOT / "tools/train.py")!r}, run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert 'Traceback' in done.stderr
    assert "KeyError: 'absent'" in done.stderr
