from pathlib import Path

import pytest

from .small import ENCODERS, backbone_file


@pytest.fixture(scope='session')
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A backbone file of each small encoder."""
    folder = tmp_path_factory.mktemp('backbones')
    return {name: backbone_file(folder / name, cfg) for name, cfg in ENCODERS.items()}
