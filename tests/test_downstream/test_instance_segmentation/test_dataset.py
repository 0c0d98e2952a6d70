"""What is wrong with an annotation file is said before a training begins."""

import json

import pytest
from mmengine.registry import DefaultScope

from saip.datasets.coco_categories import CATEGORIES
from saip.datasets.crops import DataError
from saip.downstream.instance_segmentation import CocoInstances
from saip.errors import MissingFileError
from tests.test_datasets.image_files import encode, pixels


def document():
    rows = [
        {
            'id': 1, 'image_id': 7, 'category_id': 1, 'iscrowd': 0, 'area': 40.0,
            'bbox': [2, 3, 8, 10], 'segmentation': [[2, 3, 10, 3, 10, 13]],
        },
        {
            'id': 2, 'image_id': 7, 'category_id': 90, 'iscrowd': 1, 'area': 6.0,
            'bbox': [0, 0, 3, 2], 'segmentation': {'size': [24, 16], 'counts': [0, 6, 378]},
        },
    ]  # fmt: skip
    image = {'id': 7, 'file_name': '7.jpg', 'width': 16, 'height': 24}
    return {
        'images': [image],
        'annotations': rows,
        'categories': [dict(entry) for entry in CATEGORIES],
    }


@pytest.fixture
def build(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/7.jpg').write_bytes(encode(pixels(24, 16)))

    def make(content, **changes):
        (tmp_path / 'objects.json').write_text(json.dumps(content))
        with DefaultScope.overwrite_default_scope('mmdet'):
            return CocoInstances(
                data_root=str(tmp_path),
                ann_file='objects.json',
                data_prefix=dict(img='images'),
                pipeline=[],
                **changes,
            )

    return make


def test_objects_and_crowds(build):
    data = build(document())
    assert len(data.metainfo['classes']) == 80
    person, crowd = data.get_data_info(0)['instances']
    assert (person['bbox'], person['bbox_label'], person['ignore_flag']) == (
        [2, 3, 10, 13],
        0,
        0,
    )
    assert (crowd['bbox_label'], crowd['ignore_flag']) == (79, 1)  # toothbrushes


def changed(**values):
    def change(content):
        content['annotations'][0].update(values)

    return change


def swap(content):
    content['categories'][0], content['categories'][1] = content['categories'][1::-1]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            swap,
            r"80 categories, not COCO's 80 in their order: .* 'bicycle' in place of 'person'",
        ),
        (lambda c: c['categories'].pop(), r"79 categories, .* None in place of 'toothbrush'"),
        (lambda c: c['images'][0].pop('width'), r'image 7\.jpg has no width and height'),
        (changed(category_id=12), r'annotation 1 has category_id 12, which no category has'),
        (changed(area=None), r'annotation 1 has the area None, not a number'),
        (changed(segmentation=None), r'segmentation None, neither polygons'),
        (changed(segmentation=[5]), r'segmentation \[5\], neither polygons'),
        (changed(id=2), r'annotations\[1\] of 7\.jpg have the same id 2'),
        (
            lambda c: c['annotations'][1]['segmentation'].update(counts=[1, 2]),
            r'annotation 2 has run lengths \[1, 2\] that are damaged',
        ),
        (
            changed(segmentation={'size': [16, 24], 'counts': [384]}),
            r'run lengths of 24 x 16 pixels in an image of 16 x 24',
        ),
        (changed(iscrowd=1), r'no object that has an area'),
    ],
)
def test_what_is_wrong_is_named(build, change, message):
    content = document()
    change(content)
    with pytest.raises(DataError, match=rf'objects\.json.*{message}.* COCO is a folder'):
        build(content)


def test_missing_files_are_named(build, tmp_path):
    (tmp_path / 'images/7.jpg').unlink()
    with pytest.raises(MissingFileError, match=r'7\.jpg: no such file.* COCO is a folder'):
        build(document())
    with pytest.raises(MissingFileError, match=r'other\.json: no such file\. COCO is a folder'):
        CocoInstances(data_root=str(tmp_path), ann_file='other.json', pipeline=[])
