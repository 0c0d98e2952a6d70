"""Damaged annotation files: errors that name the file, none slow, no crash of the process."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from saip.errors import InputError
from tests.test_fuzz.campaign import Report, Target, campaign
from tests.test_fuzz.readers import CORE, DOWNSTREAM

FEWER = {'LMDB': 30, 'Market file names': 20}
"""Files of readers that copy the process, or make other files, for every one."""

NEEDS = {'LMDB': 'lmdb', **dict.fromkeys((n for n in CORE if '.mat' in n), 'scipy.io')}
LIBRARIES = {name: f'{library}.models' for name, (library, _) in DOWNSTREAM.items()}
READERS = CORE | {name: make for name, (_, make) in DOWNSTREAM.items()}


def prepare(name: str, folder: Path) -> Target:
    needed = {**NEEDS, **LIBRARIES}.get(name)
    if needed is not None:
        try:
            importlib.import_module(needed)
        except (ImportError, AssertionError) as error:  # they assert the version of mmcv
            pytest.skip(str(error))
    return READERS[name](folder)


def check(report: Report, count: int) -> None:
    assert sum(report.outcomes.values()) == count
    assert not report.faults, report.faults[:5]
    assert report.outcomes['refused'] > 0


@pytest.mark.parametrize('name', READERS)
def test_few(name: str, tmp_path: Path) -> None:
    count = FEWER.get(name, 120)
    check(campaign(prepare(name, tmp_path), range(count)), count)


@pytest.mark.slow
@pytest.mark.parametrize('name', READERS)
def test_many(name: str, tmp_path: Path) -> None:
    """A sample of what benchmarks/fuzz_readers.py reads."""
    count = 10 * FEWER.get(name, 300)
    check(campaign(prepare(name, tmp_path), range(1000, 1000 + count)), count)


def read_by(function: Callable[[bytes], object], folder: Path) -> Report:
    """A campaign against a reader that does not read well."""
    file = folder / 'a.txt'
    file.write_bytes(b'0123456789')
    whole = SimpleNamespace(seen=0)

    def read() -> None:
        whole.seen += 1
        if whole.seen > 1:  # the first is the file in order
            function(file.read_bytes())

    return campaign(Target(file, read), range(4))


def refuse(text: str) -> None:
    raise InputError(text)


@pytest.mark.parametrize(
    ('function', 'outcome'),
    [
        (lambda content: os.abort(), 'crash'),
        (lambda content: int('x'), 'ValueError'),
        (lambda content: refuse('something is wrong'), 'nameless'),
        (lambda content: refuse('a.txt: something is wrong'), 'refused'),
        (lambda content: bytearray(8 << 30), 'MemoryError'),
        (lambda content: burn(), 'slow'),
    ],
)
def test_the_campaign_sees_faults(
    tmp_path: Path, function: Callable, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outcome == 'slow':
        monkeypatch.setattr('tests.test_fuzz.campaign.SLOW', 0.01)
    report = read_by(function, tmp_path)
    assert report.outcomes == {outcome: 4}
    assert len(report.faults) == (0 if outcome == 'refused' else 4)
    assert (tmp_path / 'a.txt').read_bytes() == b'0123456789'


def burn() -> None:
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
