"""What several tests of data sets share."""

import pytest

from tests.test_datasets.image_files import fill


@pytest.fixture
def folder(tmp_path):
    fill(tmp_path / 'set', 10)
    return tmp_path / 'set'
