"""Work in a copy of the process."""

import os
import signal
import time
from pathlib import Path

import pytest

from saip.datasets.apart import ApartError, run_apart


def children():
    """Numbers of the processes that this one has begun, ended ones that wait included."""
    return Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()


def test_it_answers_and_leaves_nothing_behind():
    here, before = os.getpid(), children()
    answer = run_apart(lambda: f'{os.getpid()} {"ä" * 100_000}', 30)
    assert int(answer.split()[0]) != here
    assert answer.endswith('ä' * 100_000)
    assert children() == before


def end_by_signal():
    os.kill(os.getpid(), signal.SIGSEGV)
    return 'alive'


def fail():
    raise ValueError('no such page')


@pytest.mark.parametrize(
    ('function', 'seconds', 'message'),
    [
        (end_by_signal, 30, r'ended the process that read it \(SIGSEGV\)'),
        (lambda: os._exit(7), 30, r'\(exit status 7\)'),
        (fail, 30, 'ValueError: no such page'),
        (lambda: time.sleep(60), 0.3, 'took longer than 0.3 s'),
    ],
)
def test_what_goes_wrong_there_is_an_error_here(function, seconds, message):
    start, before = time.monotonic(), children()
    with pytest.raises(ApartError, match=message):
        run_apart(function, seconds)
    assert time.monotonic() - start < 20
    assert children() == before
