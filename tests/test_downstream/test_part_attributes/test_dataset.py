"""Fashionpedia as the transforms get it: people, crowds, attributes that stay with their boxes."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from PIL import Image

from saip.datasets.crops import DataError
from saip.datasets.fashionpedia import HUMAN, NUM_ATTRIBUTES
from saip.downstream.part_attributes import (
    Fashionpedia,
    FilterGarments,
    LoadGarments,
    PackGarments,
)
from saip.errors import MissingFileError
from saip.synthetic.formats.ontology import ATTRIBUTES
from tests.test_datasets.test_fashionpedia import SHOE, SLEEVE, TOP, document

FOLDERS = {'train': 'train', 'val': 'test'}


def write(root: Path, content: dict) -> Path:
    """The same annotations for training and validation; grey pictures."""
    for split, folder in FOLDERS.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for image in content['images']:
            size = image['width'], image['height']
            Image.new('RGB', size, 'gray').save(root / folder / image['file_name'])
        (root / f'instances_attributes_{split}2020.json').write_text(json.dumps(content))
    return root


def load(root: Path, split: str = 'train') -> Fashionpedia:
    return Fashionpedia(
        data_root=str(root),
        ann_file=f'instances_attributes_{split}2020.json',
        data_prefix=dict(img=FOLDERS[split]),
        test_mode=split == 'val',
        pipeline=[],
        serialize_data=False,  # it collects garbage first, for seconds here
    )


def move(row: dict, x: float, y: float, width: float, height: float) -> None:
    """Give a garment another box, and this as its outline."""
    row['bbox'] = [x, y, width, height]
    right, lower = x + width, y + height
    row['segmentation'] = [[x, y, right, y, right, lower, x, lower]]


def large() -> dict:
    """An image of 100 x 80 with a top and a sleeve, and a crowd of shoes outside of them."""
    content = document()
    content['images'] = [dict(id=7, file_name='7.jpg', width=100, height=80)]
    content['annotations'] = content['annotations'][:3]
    for row, box in zip(
        content['annotations'],
        [(40, 20, 20, 30), (4, 30, 10, 10), (80, 60, 15, 15)],
        strict=True,
    ):
        row['image_id'] = 7
        move(row, *box)
    content['annotations'][2].update(category_id=SHOE, iscrowd=1)
    return content


def test_records(tmp_path):
    data = load(write(tmp_path, document()), 'val')
    records = [data.get_data_info(n) for n in range(len(data))]
    assert [record['img_id'] for record in records] == [7, 8, 9]
    first, second, bare = records
    assert first['img_path'] == str(tmp_path / 'test/7.jpg')
    assert (first['width'], first['height']) == (30, 20)
    assert [one['bbox_label'] for one in first['instances']] == [TOP, SLEEVE, HUMAN]
    assert [one['bbox'] for one in first['instances'][:2]] == [[2, 3, 12, 15]] * 2
    assert [one['ignore_flag'] for one in second['instances']] == [0, 0, 1, 0]
    assert bare['instances'] == []
    assert data.counts is None
    names = [entry['name'] for entry in ATTRIBUTES]
    assert list(data.metainfo['attributes']) == names
    assert data.metainfo['classes'][HUMAN] == 'human'
    assert len(data.metainfo['classes']) == 47


def test_the_person_wears_all_garments_and_no_crowd(tmp_path):
    data = load(write(tmp_path, large()))
    (human,) = [one for one in data.get_data_info(0)['instances'] if one['bbox_label'] == HUMAN]
    # 4 to 60 and 20 to 50, ten pixels more, not beyond the image.
    assert human['bbox'] == [0, 10, 70, 60]
    assert human['attributes'] == ()
    assert human['ignore_flag'] == 0


def test_a_training_leaves_out_what_cannot_be_learnt(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'saip.downstream.part_attributes.dataset.print_log', lambda text, **_: said.append(text)
    )
    content = document()
    content['annotations'][1]['bbox'] = [2, 3, 10, 0.5]
    content['images'].append(dict(id=10, file_name='10.jpg', width=30, height=20))
    content['annotations'].append(content['annotations'][4] | dict(id=9, image_id=10))
    data = load(write(tmp_path, content))
    labels = [
        [one['bbox_label'] for one in data.get_data_info(n)['instances']] for n in range(2)
    ]
    assert labels == [[TOP, HUMAN], [TOP, SHOE, TOP, HUMAN]]
    assert len(data) == 2  # neither the bare image, nor that with nothing but a crowd
    assert [text.split('json: ')[1] for text in said] == [
        'boxes below a pixel, left out: 1, the first in 7.jpg',
        'images without a garment, left out: 2, the first in 9.jpg',
    ]
    assert len(load(tmp_path, 'val')) == 4


def test_a_set_in_which_nothing_has_an_area_is_refused(tmp_path):
    content = document()
    for row in content['annotations']:
        row['bbox'] = [3, 3, 0.5, 5]
    with pytest.raises(DataError, match='no image with a garment that has an area'):
        load(write(tmp_path, content))


@pytest.mark.parametrize('name', ['instances_attributes_val2020.json', 'test/8.jpg'])
def test_a_missing_file_is_named(tmp_path, name):
    root = write(tmp_path, document())
    (root / name).unlink()
    with pytest.raises(MissingFileError, match=name) as caught:
        load(root, 'val')
    assert 'test/*.jpg, where the images of the validation lie' in str(caught.value)


def transformed(root: Path, split: str = 'train') -> dict:
    record = load(root, split).get_data_info(0)
    record['ori_shape'] = record['height'], record['width']
    record['img_shape'] = record['ori_shape']
    return LoadGarments()(record)


def test_masks_attributes_and_the_union(tmp_path):
    content = large()
    mask = np.zeros((80, 100), np.uint8)
    mask[30:40, 4:14] = 1
    flat = mask.T.flatten()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    content['annotations'][1]['segmentation'] = dict(size=[80, 100], counts=counts)
    results = transformed(write(tmp_path, content))
    top, sleeve, shoes, human = results['gt_masks'].masks
    assert (top.sum(), shoes.sum()) == (20 * 30, 15 * 15)
    assert top[20:50, 40:60].all()
    assert np.array_equal(sleeve, mask)
    assert np.array_equal(human, top | sleeve)
    ids = np.array([entry['id'] for entry in ATTRIBUTES])
    marked = [ids[row].tolist() for row in results['gt_attributes']]
    assert marked == [[0, 295, 340], [295], [295], []]
    assert results['gt_attributes'].shape == (4, NUM_ATTRIBUTES)


def test_an_image_of_another_size_is_named(tmp_path):
    root = write(tmp_path, large())
    record = load(root).get_data_info(0) | dict(ori_shape=(100, 80))
    with pytest.raises(
        DataError, match=r'7\.jpg: 80 x 100 pixels, but its annotations are for 1'
    ):
        LoadGarments()(record)


def test_an_image_without_garments_has_empty_annotations(tmp_path):
    data = load(write(tmp_path, document()), 'val')
    results = LoadGarments()(data.get_data_info(2) | dict(ori_shape=(20, 30)))
    sample = PackGarments(meta_keys=())(results)['data_samples']
    assert len(sample.gt_instances) == 0
    assert sample.gt_instances.attributes.shape == (0, NUM_ATTRIBUTES)
    assert sample.gt_instances.masks.masks.shape == (0, 20, 30)


def marked(number: int) -> dict:
    """Objects whose attributes, masks and labels tell which one they are."""
    attributes = np.zeros((number, NUM_ATTRIBUTES), bool)
    attributes[range(number), range(number)] = True
    masks = np.arange(number, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 5), np.uint8)
    return dict(
        gt_bboxes=HorizontalBoxes([[0, 0, 4 + n, 4] for n in range(number)]),
        gt_bboxes_labels=np.arange(number),
        gt_masks=BitmapMasks(masks, 4, 5),
        gt_ignore_flags=np.zeros(number, bool),
        gt_attributes=attributes,
    )


def test_attributes_leave_with_their_boxes():
    """The published code keeps those of boxes that it leaves out: all behind are another's then."""
    results = marked(5)
    results['gt_bboxes'].tensor[[1, 3], 3] = 0.5
    results = FilterGarments()(results)
    assert results['gt_bboxes_labels'].tolist() == [0, 2, 4]
    assert results['gt_attributes'].argmax(axis=1).tolist() == [0, 2, 4]
    assert results['gt_masks'].masks[:, 0, 0].tolist() == [0, 2, 4]
    assert results['gt_bboxes'].widths.tolist() == [4, 6, 8]


def test_an_image_without_a_garment_left_is_left_out():
    results = marked(3)
    results['gt_bboxes_labels'][2] = HUMAN
    results['gt_ignore_flags'][1] = True
    assert FilterGarments()(results) is not None
    results['gt_bboxes'].tensor[0, 2] = 1
    assert FilterGarments()(results) is None


def test_attributes_of_crowds_go_with_them():
    results = marked(4) | dict(gt_ignore_flags=np.array([0, 1, 0, 1], bool))
    sample = PackGarments(meta_keys=())(results)['data_samples']
    for instances, expected in (
        (sample.gt_instances, [0, 2]),
        (sample.ignored_instances, [1, 3]),
    ):
        assert instances.labels.tolist() == expected
        assert instances.attributes.int().argmax(dim=1).tolist() == expected
        assert instances.masks.masks[:, 0, 0].tolist() == expected
