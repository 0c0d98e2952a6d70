"""Every tiny set, written once per session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saip.synthetic import formats


@pytest.fixture(scope='session')
def drawn(tmp_path_factory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp('drawn')

    def folder(name: str) -> Path:
        below, write = formats.DATASETS[name]
        write(root / below)
        return root / below

    return folder
