"""A variable that is set after it was used is refused with the keys that it has gone into."""

import pytest

from saip.engine.keys import ConfigKeyError
from saip.engine.launch import read_config
from tests.tiny import ROOT

FOLDER = ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'
REID = ROOT / 'configs/downstream/reid/transreid_market1501.py'

BASE = """
data_root = 'a'
pictures = dict(type='saip.PersonImages', data_root=data_root + '/crops')
scale = 3
unread = 1
train_dataloader = dict(dataset=pictures, batch_size=scale)
val_dataloader = dict(dataset=pictures)
default_scope = 'mmengine'
"""


@pytest.fixture
def base(tmp_path) -> str:
    (tmp_path / 'base.py').write_text(BASE)
    return str(tmp_path / 'base.py')


@pytest.fixture
def child(base, tmp_path):
    def write(text: str) -> str:
        (tmp_path / 'child.py').write_text(f"_base_ = './base.py'\n{text}\n")
        return str(tmp_path / 'child.py')

    return write


def test_an_option_that_comes_too_late_is_refused_with_the_keys_that_work(base):
    with pytest.raises(ConfigKeyError) as caught:
        read_config(base, {'pictures.data_root': '/x'})
    assert 'train_dataloader.dataset.data_root=/x val_dataloader.dataset.data_root=/x' in str(
        caught.value
    )


def test_what_follows_from_the_variable_is_named_with_its_own_value(base):
    with pytest.raises(
        ConfigKeyError, match=r'set train_dataloader.dataset.data_root=/x/crops '
    ):
        read_config(base, {'data_root': '/x'})


def test_the_keys_that_are_named_work(base):
    cfg = read_config(base, {'train_dataloader.dataset.data_root': '/x'})
    assert cfg.train_dataloader.dataset.data_root == '/x'


@pytest.mark.parametrize(
    'options',
    [
        {'unread': 3},
        {'scale': 3},  # as it is
        {'scale': 4, 'train_dataloader.batch_size': 4},
        {
            'pictures.data_root': '/x',
            'train_dataloader.dataset': {},
            'val_dataloader.dataset': {},
        },
    ],
)
def test_options_that_change_nothing_silently_pass(base, options):
    read_config(base, options)


@pytest.mark.parametrize(
    ('leaf', 'option', 'value', 'key'),
    [
        (FOLDER, 'images.data_root', '/x', 'train_dataloader.dataset.data_root=/x'),
        (FOLDER, 'backbone.drop_path_rate', 0.1, 'model.backbone.drop_path_rate=0.1'),
        (REID, 'train_pipeline.1.scale', (9, 9), 'train_dataloader.dataset.pipeline.1.scale='),
    ],
)
def test_the_shipped_configs(leaf, option, value, key):
    with pytest.raises(ConfigKeyError) as caught:
        read_config(str(leaf), {option: value})
    assert f'set {key}' in str(caught.value)


def test_a_file_that_sets_a_variable_of_its_base_too_late(child):
    with pytest.raises(ConfigKeyError, match=r'scale: .*set train_dataloader.batch_size=8'):
        read_config(child('scale = 8'))


@pytest.mark.parametrize(
    'text',
    [
        'scale = 3',
        'unread = 2',
        'scale = 8\ntrain_dataloader = dict(batch_size=scale)',
        'scale = 8\ntrain_dataloader = dict(batch_size=8)',
        'own = 8',
    ],
)
def test_a_file_that_uses_or_repeats_the_variable_passes(child, text):
    read_config(child(text))


def test_a_part_of_a_variable_that_does_not_exist_is_named_as_such(base):
    with pytest.raises(ConfigKeyError, match="did you mean 'data_root'"):
        read_config(base, {'pictures.data_rot': '/x'})
