"""Label maps in the pipelines."""

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import Resize
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from PIL import Image

from saip.datasets.crops import DataError
from saip.downstream.human_parsing import LoadParsing, ParsingFlip

from .test_metric import blocks


def results(maps: np.ndarray, boxes: list[list[float]]) -> dict:
    height, width = maps.shape[1:]
    generator = np.random.default_rng(0)
    return dict(
        img=generator.integers(0, 256, (height, width, 3)).astype(np.uint8),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes)),
        gt_masks=BitmapMasks(maps, height, width),
    )


def test_a_mirror_image_exchanges_sides():
    maps = np.stack([blocks((14, 0, 4, 0, 3), (15, 0, 4, 3, 5), (5, 4, 9, 0, 5)),
                     blocks((17, 2, 8, 6, 8), (18, 8, 9, 6, 8), (13, 0, 1, 7, 9))])  # fmt: skip
    flipped = ParsingFlip(prob=1.0)(results(maps, [[0, 0, 5, 9], [6, 0, 9, 9]]))
    expected = np.stack([blocks((15, 0, 4, 7, 10), (14, 0, 4, 5, 7), (5, 4, 9, 5, 10)),
                         blocks((16, 2, 8, 2, 4), (19, 8, 9, 2, 4), (13, 0, 1, 1, 3))])  # fmt: skip
    assert np.array_equal(flipped['gt_masks'].masks, expected)
    assert flipped['gt_bboxes'].tensor.tolist() == [[5, 0, 10, 9], [1, 0, 4, 9]]


def test_a_map_of_all_people_exchanges_sides_too():
    one = blocks((14, 0, 4, 0, 3), (5, 4, 9, 0, 5))
    given = results(one[None], [[0, 0, 5, 9]]) | {
        'gt_seg_map': one,
        'seg_fields': ['gt_seg_map'],
    }
    flipped = ParsingFlip(prob=1.0)(given)
    assert np.array_equal(flipped['gt_seg_map'], blocks((15, 0, 4, 7, 10), (5, 4, 9, 5, 10)))
    assert np.array_equal(flipped['gt_seg_map'], flipped['gt_masks'].masks[0])


def test_twice_mirrored_is_as_before():
    maps = np.random.default_rng(1).integers(0, 20, (3, 12, 17)).astype(np.uint8)
    before = results(maps, [[0.5, 1, 4, 8]])
    once = ParsingFlip(prob=1.0)(results(maps, [[0.5, 1, 4, 8]]))
    assert not np.array_equal(once['gt_masks'].masks, maps)
    twice = ParsingFlip(prob=1.0)(once)
    assert np.array_equal(twice['gt_masks'].masks, maps)
    assert np.array_equal(twice['img'], before['img'])
    assert twice['gt_bboxes'].tensor.tolist() == [[0.5, 1, 4, 8]]


def test_without_chance_nothing_is_mirrored():
    maps = np.full((1, 4, 4), 14, np.uint8)
    assert ParsingFlip(prob=0.0)(results(maps, [[0, 0, 4, 4]]))['gt_masks'].masks.max() == 14


def test_resizing_makes_no_new_labels():
    maps = np.random.default_rng(2).choice([0, 3, 19], (2, 20, 30)).astype(np.uint8)
    resized = Resize(scale=(47, 33), keep_ratio=True)(results(maps, [[0, 0, 5, 5]]))
    masks = resized['gt_masks'].masks
    assert masks.shape == (2, *resized['img'].shape[:2])
    assert np.unique(masks).tolist() == [0, 3, 19]


@pytest.fixture
def record(tmp_path):
    """An image of 12 x 10 pixels with a person and a crowd."""
    Image.fromarray(np.full((10, 12), 7, np.uint8)).save(tmp_path / 'one.png')
    Image.fromarray(np.full((10, 12), 7, np.uint8)).save(tmp_path / 'all.png')
    return dict(
        img_path='picture.jpg',
        ori_shape=(10, 12),
        seg_map_path=str(tmp_path / 'all.png'),
        instances=[
            dict(bbox=[1, 2, 5, 6], bbox_label=0, ignore_flag=0, parsing=str(tmp_path / 'one.png')),
            dict(bbox=[0, 0, 9, 9], bbox_label=0, ignore_flag=1, parsing=None),
        ],
    )  # fmt: skip


def test_loading(record):
    loaded = LoadParsing(with_seg=True)(record)
    assert loaded['gt_masks'].masks.shape == (2, 10, 12)
    assert [labels.max() for labels in loaded['gt_masks'].masks] == [7, 0]
    assert loaded['gt_ignore_flags'].tolist() == [False, True]
    assert loaded['gt_bboxes'].tensor.tolist() == [[1, 2, 5, 6], [0, 0, 9, 9]]
    assert (loaded['gt_seg_map'] == 7).all()


def test_an_image_without_a_person_has_no_maps(record):
    loaded = LoadParsing()(record | {'instances': []})
    assert loaded['gt_masks'].masks.shape == (0, 10, 12)
    assert 'gt_seg_map' not in loaded


@pytest.mark.parametrize('name', ['one.png', 'all.png'])
@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (np.full((10, 12), 20, np.uint8), r': label 20, 0 to 19 expected'),
        (np.full((10, 12), 255, np.uint8), r': label 255, 0 to 19 expected'),
        (np.full((10, 12), 261, np.uint16), r': label 261, 0 to 19 expected'),
        (np.zeros((12, 10), np.uint8), r': 10 x 12 pixels, but its image picture\.jpg has 12 x 10'),
        (np.zeros((10, 12, 3), np.uint8), r': 3 channels; a label map has one'),
    ],
)  # fmt: skip
def test_what_is_no_label_map_is_refused(tmp_path, record, name, labels, message):
    Image.fromarray(labels).save(tmp_path / name)
    with pytest.raises(DataError, match=name.replace('.', r'\.') + message):
        LoadParsing(with_seg=True)(record)


def test_a_damaged_or_missing_map_is_named(tmp_path, record):
    (tmp_path / 'one.png').write_bytes((tmp_path / 'all.png').read_bytes()[:50])
    with pytest.raises(DataError, match=r'one\.png: not a readable PNG'):
        LoadParsing()(record)
    (tmp_path / 'one.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'one\.png: no such file'):
        LoadParsing()(record)
