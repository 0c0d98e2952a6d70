"""The sheet of one sample's views, and the tool that draws it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from saip.visualization.views import HIDDEN_GRAY, QUERY_COLORS
from tests.test_datasets.image_files import fill
from tests.tools import call_tool

ROOT = Path(__file__).parents[2]
PREPROCESSOR = {
    'type': 'saip.ViewsPreprocessor',
    'size': (128, 64),
    'patch_size': 16,
    'views': {
        'anchor': {'type': 'Crop'},
        'augmented': {'type': 'Crop'},
        'local_crops': {'type': 'Crop', 'number': 2, 'size': (64, 32)},
        'multires': {'type': 'Rescale'},
        'masked': {'type': 'Masked', 'of': 'augmented', 'mask': {'type': 'RandomMask'}},
        'scene': {'type': 'Scene', 'size': (112, 112), 'distractors': 1},
    },
}

VIEWS = 'model.data_preprocessor.views'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    fill(tmp_path / 'set', 5)
    dataset = {'type': 'saip.PersonImages', 'data_root': str(tmp_path / 'set')}
    text = Config(
        {
            'train_dataloader': {'batch_size': 2, 'dataset': dataset},
            'model': {'type': 'saip.SAIP', 'data_preprocessor': PREPROCESSOR},
        }
    ).pretty_text
    path = tmp_path / 'config.py'
    path.write_text(text)
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, fresh_mmengine: None):
    def call(*arguments: object) -> int:
        return call_tool(monkeypatch, 'visualization/browse_views.py', *arguments)

    return call


def test_the_sheet_shows_views_scene_and_masks(config, run, tmp_path) -> None:
    sheets = []
    for epoch in (0, 0, 1):
        out = tmp_path / 'new' / 'views.png'
        assert run(config, '--index', 3, '--epoch', epoch, '--out', out) == 0
        sheets.append(np.asarray(Image.open(out)))
    pixels = sheets[0].reshape(-1, 3)
    for color in QUERY_COLORS[:2]:
        assert (pixels == color).all(1).sum() > 20
    # Three quarters of the patches of the masked view are hidden.
    assert (pixels == HIDDEN_GRAY).all(1).sum() == 0.75 * 128 * 64
    assert np.array_equal(sheets[0], sheets[1])
    assert sheets[0].shape != sheets[2].shape or (sheets[0] != sheets[2]).any()
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['views.png']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere.py'], 'nowhere.py: no such configuration file'),
        (['{config}', '--index', '5'], '--index 5: the training set has 5 images'),
        (['{config}', '--cfg-options', 'modle.type=x'], "no key 'modle'"),
        (['{config}', '--cfg-options', '{views}.anchor.augment.flip=2'], 'flip: a number'),
        (['{config}', '--cfg-options', '{views}.anchor.flip=2'], "no key 'flip'"),
        (['{config}', '--cfg-options', '{views}.anchor.type=Kropp'], "no view type 'Kropp'"),
        (
            ['{config}', '--cfg-options', 'model.data_preprocessor.flip=2'],
            'flip is gone: augment',
        ),
        (['{config}', '--cfg-options', 'train_dataloader.dataset.type=Photos'], 'Photos'),
        (['{config}', '--cfg-options', 'train_dataloader.dataset.data_root=x'], 'folder'),
        (['{text}'], 'text.py: invalid syntax'),
        (['{config}', '--out', 'views.jpg'], '--out views.jpg: a PNG is written; its name has'),
    ],
)
def test_bad_input_is_one_line(config, run, capsys, tmp_path, arguments, message) -> None:
    (tmp_path / 'text.py').write_text('not a config')
    places = {'views': VIEWS, 'config': str(config), 'text': str(tmp_path / 'text.py')}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith('browse_views.py: error: ')
    assert message in error
    assert error.count('\n') == 1
