"""What is wrong with a folder is said before a training begins."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from saip.datasets.crops import DataError
from saip.downstream.semantic_segmentation import ADE20K, LoadSceneLabels
from saip.errors import MissingFileError

FOLDERS = dict(img_path='images/training', seg_map_path='annotations/training')


@pytest.fixture
def root(tmp_path):
    """Two images and their maps, with the labels 0 to 150."""
    for folder in FOLDERS.values():
        (tmp_path / folder).mkdir(parents=True)
    for number in (2, 1):
        noise = np.random.default_rng(number).integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f'images/training/ADE_train_{number:08d}.jpg')
        labels = np.arange(600, dtype=np.uint16).reshape(20, 30) % 151
        path = tmp_path / f'annotations/training/ADE_train_{number:08d}.png'
        Image.fromarray(labels.astype(np.uint8)).save(path)
    return tmp_path


def build(root, **changes):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='saip.LoadSceneLabels')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        return ADE20K(data_root=str(root), data_prefix=FOLDERS, pipeline=pipeline, **changes)


def test_label_0_is_ignored_and_the_others_are_numbered_from_0(root):
    data = build(root)
    assert len(data.metainfo['classes']) == 150
    assert [data[i]['img_path'][-6:] for i in (0, 1)] == ['01.jpg', '02.jpg']
    expected = np.arange(600).reshape(20, 30) % 151 - 1
    expected[expected < 0] = 255
    np.testing.assert_array_equal(data[1]['gt_seg_map'], expected)


def test_missing_files_are_named(root):
    (root / 'annotations/training/ADE_train_00000002.png').unlink()
    with pytest.raises(MissingFileError, match=r'00000002\.png: no such file.* ADE20K is the'):
        build(root)
    with pytest.raises(MissingFileError, match=r'elsewhere.*: no such folder\. ADE20K is the'):
        build(root / 'elsewhere')
    for path in root.glob('images/training/*.jpg'):
        path.rename(path.with_suffix('.jpeg'))
    with pytest.raises(DataError, match=r'images/training: no \.jpg in it'):
        build(root)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda labels: labels + 1, 'label 151, 0 to 150 expected'),
        (lambda labels: labels[:10], '30 x 10 pixels, but its image .* 30 x 20'),
        (lambda labels: np.stack([labels] * 3, -1), '3 channels; a label map has one'),
    ],
)
def test_a_wrong_map_is_named(root, change, message):
    path = root / 'annotations/training/ADE_train_00000001.png'
    labels = np.asarray(Image.open(path)).astype(np.uint8)
    Image.fromarray(change(labels)).save(path)
    data = build(root)
    with pytest.raises(DataError, match=rf'{path}: {message}'):
        data[0]


def test_colors_in_place_of_labels_are_not_read_as_labels():
    with pytest.raises(MissingFileError, match=r'a\.png: no such file'):
        LoadSceneLabels().transform(
            dict(
                img_path='a.jpg', seg_map_path='a.png', ori_shape=(2, 2), reduce_zero_label=True
            )
        )
