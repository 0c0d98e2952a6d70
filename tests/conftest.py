import os
import signal
from collections import Counter

# Before torch is imported anywhere: several test processes share few cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin

from tests import toy_run
from tests.processes import free_port, set_process


@pytest.hookimpl(tryfirst=True)  # before those marked slow are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all but every n-th case of a test as slow where ``sampled(n)`` says so."""
    seen: Counter[str] = Counter()
    for item in items:
        if marker := item.get_closest_marker('sampled'):
            name = item.nodeid.split('[')[0]
            if seen[name] % marker.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[name] += 1


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _outside(monkeypatch):
    """The variables that choose encoder, weights, length and data are those of the test alone."""
    names = ('BACKBONE', 'INIT', 'SCHEDULE', 'DATA', 'TEXT_INIT', 'BPE', 'LAYER_SCALE')
    for name in names:
        monkeypatch.delenv(f'SAIP_{name}', raising=False)


@pytest.fixture
def one_process_group(monkeypatch):
    """What torchrun sets for one process, without CUDA; for a run with launcher='pytorch'.

    DistributedDataParallel refuses parameters without a gradient, in one process too.
    """
    set_process(0, 1, free_port(), monkeypatch)


@pytest.fixture
def signals_as_before():
    """A run that was asked to stop leaves its signals without effect: its process is to end."""
    names = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    former = [signal.getsignal(name) for name in names]
    yield
    for name, handler in zip(names, former, strict=True):
        signal.signal(name, handler)


@pytest.fixture
def fresh_mmengine():
    """Runs in one process share mmengine's global instances; give each test its own.

    Those of two runs that begin in the same second have the same name, and every class of
    visualizers has instances of its own.
    """
    _forget_instances(ManagerMixin)
    yield
    _forget_instances(ManagerMixin)


@pytest.fixture
def unformatted_configs(monkeypatch):
    """mmengine formats the configuration for every log and checkpoint: half of a short run."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: repr(cfg.to_dict())))


@pytest.fixture(autouse=True)
def no_scope_is_left():
    """A run sets mmengine's default scope, in which later tests would look for their types."""
    yield
    DefaultScope._instance_dict.clear()


def _forget_instances(kind: type[ManagerMixin]) -> None:
    kind._instance_dict.clear()
    for below in kind.__subclasses__():
        _forget_instances(below)


@pytest.fixture
def toy_config(tmp_path):
    """Write the toy configuration with changes and return its path."""

    def write(name: str = 'toy', **changes: object) -> str:
        cfg = Config(toy_run.config(str(tmp_path / 'work')))
        cfg.merge_from_dict(changes)
        path = tmp_path / f'{name}.py'
        cfg.dump(path)
        return str(path)

    return write
