"""Backbones and images that several tests evaluate."""

from pathlib import Path

import pytest

from saip.synthetic import SIZES, write_market1501
from tests.test_experiments.exported_files import BACKBONE, export


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """The work directory of a pretraining that exported its backbone twice."""
    for epoch in (100, 20):
        export(tmp_path / 'run', epoch)
    return tmp_path / 'run'


@pytest.fixture
def fragments(tmp_path) -> Path:
    """A folder of encoders in the place of configs/_base_/backbones."""
    folder = tmp_path / 'fragments'
    folder.mkdir()
    (folder / 'tiny.py').write_text(f'backbone = {BACKBONE}\n')
    return folder


@pytest.fixture(scope='session')
def people(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('people') / 'market'
    write_market1501(folder, SIZES['tiny'])
    return folder
