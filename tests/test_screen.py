"""What the quickstart shows: steps, progress, warnings; everything else goes to a file."""

import io
import logging
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub, MMLogger, print_log
from rich.console import Console

from saip.datasets.progress import reported, track
from saip.quickstart import screen as screens
from saip.quickstart.screen import Screen, duration
from saip.quickstart.screen_hook import ScreenHook, WarningHandler
from tests.tiny import ROOT


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(screens, 'time', clock)
    return clock


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def test_without_a_terminal_a_line_every_half_minute(clock):
    screen = Screen(console(False), 2)
    with screen.step('pretrain'):
        for done in range(1, 101):
            clock.now += 1
            screen.progress(done, 100, 'loss 3.20')
    clock.now += 5
    with screen.step('[odd] name'):
        clock.now += 3
    lines = screen.console.file.getvalue().splitlines()
    # The first call begins the measurement: 29 further items in 29 s, so 70 s are left.
    assert lines[:3] == [
        '[1/2] pretrain: 30 %, loss 3.20, 1:10 min left',
        '[1/2] pretrain: 60 %, loss 3.20, 40 s left',
        '[1/2] pretrain: 90 %, loss 3.20, 10 s left',
    ]
    assert [line.split() for line in lines[3:]] == [
        ['[1/2]', 'pretrain', '1:40', 'min'],
        ['[2/2]', '[odd]', 'name', '3', 's'],
    ]


def test_a_resumed_run_measures_its_own_speed(clock):
    line = screens.PlainLine(console(False), 'pretrain')
    assert line.time_left(900, 1000) == ''
    clock.now += 10
    assert line.time_left(910, 1000) == '1:30 min left'


def test_on_a_terminal_one_live_line():
    screen = Screen(console(True), 1)
    with screen.step('pretrain'):
        screen.progress(25, 100, 'loss 3.20')
        shown = screen._line._live.tasks[0]
        assert shown.percentage == 25
        assert shown.fields['details'].startswith('25 %, loss 3.20')
    last = screen.console.file.getvalue().splitlines()[-1]
    assert re.search(r'\[1/1\] pretrain {20,}0 s$', last), 'it takes the place of the live line'


def test_the_step_that_failed_is_not_reported_as_done():
    screen = Screen(console(False), 1)
    with pytest.raises(KeyError), screen.step('pretrain'):
        raise KeyError
    assert screen.console.file.getvalue() == ''


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0, '0 s'), (59.6, '1:00 min'), (754, '12:34 min'), (3723, '1:02:03 h')],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_long_work_reports_to_whoever_asked(capsys):
    seen = []
    with reported(lambda *how_far: seen.append(how_far)):
        assert list(track('ab', 2, 'letters')) == ['a', 'b']
    assert seen == [('letters', 1, 2), ('letters', 2, 2)]
    assert capsys.readouterr().err == ''
    assert list(track('ab', 2, 'letters')) == ['a', 'b']
    assert 'letters: 2/2' in capsys.readouterr().err


@pytest.mark.usefixtures('fresh_mmengine')
def test_only_warnings_of_this_project_are_shown():
    screen = Screen(console(False), 1)
    logger = MMLogger.get_instance('run', logger_name='run')
    hook = ScreenHook(screen)
    runner = SimpleNamespace(logger=logger)
    hook.before_run(runner)
    print_log('of a library', logger, logging.WARNING)  # called by this test, no module of ours
    exec(
        compile(
            "print_log('three bad images', logger, 30)\nlogger.warning('no room')\n"
            "logger.info('detail')",
            f'{ROOT}/saip/datasets/x.py',
            'exec',
        ),
        {'print_log': print_log, 'logger': logger},
    )
    hook.after_run(runner)
    assert screen.console.file.getvalue().splitlines() == [
        'warning: three bad images',
        'warning: no room',
    ]
    assert not [one for one in logger.handlers if isinstance(one, WarningHandler)]


@pytest.mark.usefixtures('fresh_mmengine')
def test_the_hook_shows_loss_and_speed():
    shown = []
    screen = SimpleNamespace(progress=lambda *how_far: shown.append(how_far))
    hub = MessageHub.get_instance('run')
    runner = SimpleNamespace(
        iter=4,
        max_iters=10,
        message_hub=hub,
        train_dataloader=SimpleNamespace(batch_size=32),
    )
    hook = ScreenHook(screen)
    hook.after_train_iter(runner, 4)
    hub.update_scalar('train/loss', 7.0)
    hub.update_scalar('train/loss', 8.0)
    hub.update_scalar('train/time', 0.5)
    hook.after_train_iter(runner, 4)
    hook.after_val_iter(runner, 0)
    assert shown == [
        (5, 10, ''),
        (5, 10, 'loss 7.50, 64 images/s'),
        (4, 10, 'validating'),
    ]


def test_all_output_goes_to_the_file(tmp_path):
    """Of Python, of C and of child processes; the former output stays usable."""
    script = f"""
import os, subprocess, sys
from pathlib import Path
from saip.quickstart.screen import output_to_file
print('before')
with output_to_file(Path({str(tmp_path)!r}) / 'sub/all.log') as shown:
    print('hidden', flush=True)
    os.write(2, b'raw\\n')
    subprocess.run(['echo', 'child'], check=True)
    print('shown', file=shown, flush=True)
    print('late')
print('after')
"""
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [sys.executable, '-c', script], env=env, capture_output=True, text=True
    )
    assert done.stdout.split() == ['before', 'shown', 'after'], done.stderr
    assert sorted((tmp_path / 'sub/all.log').read_text().split()) == [
        'child',
        'hidden',
        'late',
        'raw',
    ]
