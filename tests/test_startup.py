"""Every tool settles its threads and its memory before torch is loaded."""

from saip.startup import THREADS, WAITING, cpu_quota, prepare, usable_cores

import os
import platform
import subprocess
import sys

import pytest

from tests.tiny import ROOT

TOOLS = sorted(
    path
    for folder in ('tools', 'benchmarks')
    for path in (ROOT / folder).rglob('*.py')
    if path.parent.name not in ('setup', 'suite')  # the latter are parts of scripts
)
# Prints for every tool the variables at the moment when the first library with OpenMP is imported.
OBSERVER = """
import os, runpy, sys

NAMES = ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME')
class Reached(BaseException): pass
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ('torch', 'scipy', 'sklearn', 'mmengine', 'timm'):
            raise Reached
sys.meta_path.insert(0, Watch())
own = {n: os.environ.get(n) for n in NAMES}
for tool in sys.argv[1:]:
    for name in [m for m in sys.modules if m.split('.')[0] == 'saip']:
        del sys.modules[name]
    for name, value in own.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    sys.path.insert(0, os.path.dirname(tool))
    try:
        runpy.run_path(tool)
    except Reached:
        pass
    print(tool, *(os.environ.get(n) for n in NAMES))
"""


def observe(tools, **variables):
    env = {k: v for k, v in os.environ.items() if k not in (*WAITING, *THREADS)}
    env |= {'PYTHONPATH': str(ROOT), **variables}
    command = [sys.executable, '-c', OBSERVER, *map(str, tools)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.rsplit(' ', 2) for line in done.stdout.splitlines()]


def test_every_tool_sets_the_spinning_before_torch():
    found = observe(TOOLS)
    assert len(found) == len(TOOLS) > 30
    wrong = [tool for tool, *values in found if values != ['1000', '1']]
    # A module that other scripts import is no tool; the other makes an environment.
    assert wrong == [str(ROOT / f'benchmarks/{name}.py') for name in ('lightly_env', 'machine')]


def test_values_of_the_user_win():
    (found,) = observe([ROOT / 'tools/train.py'], GOMP_SPINCOUNT='7')
    assert found[1:] == ['7', '1']
    (found,) = observe([ROOT / 'tools/train.py'], OMP_WAIT_POLICY='PASSIVE')
    assert found[1:] == ['None', 'None']


# Prints how often the system had to give a page while 64 MB were taken and freed five times.
TAKE_AND_FREE = """
from saip import startup
import numpy as np
from resource import RUSAGE_SELF, getrusage

def use():
    np.ones(8_000_000)

use()
before = getrusage(RUSAGE_SELF).ru_minflt
for _ in range(5):
    use()
print(getrusage(RUSAGE_SELF).ru_minflt - before)
"""


def pages_given(**variables):
    ours = ('MALLOC_', 'GLIBC_TUNABLES')
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    env |= {'PYTHONPATH': str(ROOT), **variables}
    command = [sys.executable, '-c', TAKE_AND_FREE]
    return int(subprocess.run(command, env=env, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='of the allocator of glibc')
def test_freed_memory_is_kept_unless_the_user_has_set_the_allocator():
    assert pages_given() < 10
    user = {'MALLOC_TRIM_THRESHOLD_': '100000', 'MALLOC_MMAP_THRESHOLD_': '100000'}
    assert pages_given(**user) > 100
    tunables = 'glibc.malloc.trim_threshold=100000:glibc.malloc.mmap_threshold=100000'
    assert pages_given(GLIBC_TUNABLES=tunables) > 100


@pytest.mark.parametrize(
    ('files', 'cores'),
    [
        ({}, None),
        ({'cpu.max': 'max 100000\n'}, None),
        ({'cpu.max': '150000 100000\n'}, 2),
        ({'cpu.max': '50000 100000\n'}, 1),
        ({'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'}, None),
        ({'cpu/cpu.cfs_quota_us': '300000\n', 'cpu/cpu.cfs_period_us': '100000\n'}, 3),
    ],
)
def test_quota_of_a_container(files, cores, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cpu_quota(tmp_path) == cores


def test_a_quota_below_the_cores_limits_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr('saip.startup.allowed_cores', lambda: 64)
    (tmp_path / 'cpu.max').write_text('400000 100000')
    environment = {}
    prepare(environment, tmp_path)
    assert environment == {'OMP_NUM_THREADS': '4', **WAITING}
    assert usable_cores(tmp_path) == 4
    environment = {'MKL_NUM_THREADS': '8'}
    prepare(environment, tmp_path)
    assert 'OMP_NUM_THREADS' not in environment
    (tmp_path / 'cpu.max').write_text('max 100000')
    environment = {}
    prepare(environment, tmp_path)
    assert environment == WAITING
    assert usable_cores(tmp_path) == 64


def test_loading_the_tasks_prints_nothing():
    tasks = 'attributes, classification, reid, text_reid'
    command = [sys.executable, '-W', 'ignore', '-c', f'from saip.downstream import {tasks}']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, ''), done.stderr
    # Only the first import prints, so that no other module may be the first.
    direct = [
        p for p in (ROOT / 'saip').rglob('*.py') if 'mmpretrain.datasets ' in p.read_text()
    ]
    assert [path.name for path in direct] == ['base_dataset.py']


def test_missing_operators_are_no_warning_of_every_tool():
    code = """
import saip.startup, sys, warnings
sys.modules['mmcv.ops'] = None  # importing it fails, as without compiled operators
import mmcv.cnn.bricks.transformer
warnings.warn('another')
"""
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert 'another' in done.stderr
    assert 'Fail to import' not in done.stderr
