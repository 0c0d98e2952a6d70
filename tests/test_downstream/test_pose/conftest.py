"""The slice and its tests need mmpose."""

import pytest

from saip.synthetic.formats import write_ap10k, write_coco, write_humanart

try:
    import mmpose.models
except (ImportError, AssertionError):  # it asserts the version of mmcv
    collect_ignore_glob = ['test_*.py']
else:
    assert mmpose.models

from .chimp_files import write_chimpact


@pytest.fixture(scope='session')
def drawn(tmp_path_factory):
    """The five sets, people and animals, below one folder; nobody may change them."""
    root = tmp_path_factory.mktemp('drawn')
    write_coco(root / 'coco')
    write_humanart(root / 'HumanArt')
    write_ap10k(root / 'ap10k')
    write_chimpact(root / 'ChimpACT')
    return root
