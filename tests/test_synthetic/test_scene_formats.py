"""ADE20K and COCO's objects: what is written is what is drawn, as the libraries read it."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from saip.datasets.coco_categories import CATEGORIES
from saip.synthetic.formats.ade20k import LABELS, label_map
from saip.synthetic.formats.coco import BAGS
from saip.synthetic.scene.parts import CODES
from saip.synthetic.scene.plan import Crowding, plan_crowd
from saip.synthetic.scene.render import render_scene
from saip.synthetic.scene.scene import Thing


def test_labels_of_ade20k_are_those_of_mmsegmentation(drawn):
    ade = pytest.importorskip('mmseg.datasets').ADE20KDataset
    classes = ade.METAINFO['classes']
    assert len(classes) == 150
    assert {label: classes[label - 1] for label in LABELS} == LABELS
    root = drawn('ade20k')
    seen, whole = Counter(), 0
    for split, count in (('training', 8), ('validation', 6)):
        images = sorted(root.glob(f'images/{split}/*.jpg'))
        assert len(images) == count
        for path in images:
            labels = Image.open(root / f'annotations/{split}/{path.stem}.png')
            assert labels.mode == 'L'
            assert labels.size == Image.open(path).size == (160, 128)
            values, counts = np.unique(np.asarray(labels), return_counts=True)
            seen.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            whole += labels.width * labels.height
    assert seen.keys() <= LABELS.keys() | {0}
    assert len(seen) >= 9
    # Some of every image is ignored, most is not.
    assert 0.01 < seen[0] / whole < 0.2
    assert seen[13] / whole > 0.1


def test_the_library_reads_ade20k_and_ignores_label_0(drawn):
    datasets = pytest.importorskip('mmseg.datasets')
    root = drawn('ade20k')
    found = datasets.ADE20KDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='mmseg.LoadAnnotations'),
        ],
    )
    assert len(found) == 8
    for sample in (found[0], found[5]):
        raw = cv2.imread(sample['seg_map_path'], cv2.IMREAD_UNCHANGED).astype(int)
        np.testing.assert_array_equal(sample['gt_seg_map'], np.where(raw == 0, 255, raw - 1))


def test_things_and_people_have_the_label_of_what_was_drawn_last():
    """Painted anew, pixel by pixel: each belongs to the nearest that covers it."""
    crowding = Crowding(people=(3, 4), heights=(0.4, 0.9), things=1.0)
    labels_of = {'post': 94, 'bin': 139, 'hedge': 18, 'car': 21}
    shown = 0
    for number in range(4):
        scene = plan_crowd(3, number, (64, 96), crowding)
        annotated = render_scene(scene)
        labels = label_map(scene, annotated)
        height, width = labels.shape
        person = annotated.owners > 0
        assert not np.isin(labels[~person], (13, 116)).any()
        assert np.isin(labels[person], (0, 13, 116)).all()
        for thing in scene.things:
            assert isinstance(thing, Thing)
            row = int(thing.ground * height) - 1
            column = int(thing.x * width)
            if 0 <= row < height and 0 <= column < width and annotated.owners[row, column] == 0:
                nearer = [t for t in scene.things if t.ground > thing.ground]
                if not nearer:
                    assert labels[row, column] == labels_of[thing.kind]
                    shown += 1
    assert shown >= 2
    assert CODES > 100


@pytest.mark.parametrize(('split', 'count'), [('train', 8), ('val', 6)])
def test_coco_objects(drawn, split, count):
    root = drawn('coco')
    document = json.loads((root / f'annotations/instances_{split}2017.json').read_text())
    people = json.loads((root / f'annotations/person_keypoints_{split}2017.json').read_text())
    assert document['images'] == people['images']
    assert len(document['images']) == count
    rows = document['annotations']
    assert [row['id'] for row in rows] == list(range(1, len(rows) + 1))
    fields = {'segmentation', 'area', 'iscrowd', 'image_id', 'bbox', 'category_id', 'id'}
    assert {frozenset(row) for row in rows} == {frozenset(fields)}
    by_kind = Counter((row['category_id'], row['iscrowd']) for row in rows)
    assert by_kind.keys() <= {(1, 0), (1, 1), (27, 0), (31, 0)}
    assert by_kind[27, 0] + by_kind[31, 0] >= 1
    for crowd in (0, 1):
        wanted = sum(row['iscrowd'] == crowd for row in people['annotations'])
        assert by_kind[1, crowd] == wanted
    for row in rows:
        assert isinstance(row['segmentation'], dict if row['iscrowd'] else list)


def test_categories_of_coco_are_those_of_mmdetection(drawn):
    coco = pytest.importorskip('mmdet.datasets').CocoDataset
    names = [entry['name'] for entry in CATEGORIES]
    assert tuple(names) == coco.METAINFO['classes']
    numbers = [entry['id'] for entry in CATEGORIES]
    # COCO numbers 91 kinds of things, of which eleven have no boxes.
    absent = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}
    assert numbers == [number for number in range(1, 92) if number not in absent]
    assert {names[numbers.index(number)] for number in BAGS.values()} == {'backpack', 'handbag'}


def test_a_crowd_is_there_and_the_library_ignores_it(drawn):
    datasets = pytest.importorskip('mmdet.datasets')
    masks = pytest.importorskip('pycocotools.mask')
    root = drawn('coco')
    crowds = 0
    for split in ('train', 'val'):
        found = datasets.CocoDataset(
            data_root=str(root),
            ann_file=f'annotations/instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'),
            pipeline=[],
        )
        assert len(found.cat_ids) == 80
        for record in (found.get_data_info(index) for index in range(len(found))):
            for one in record['instances']:
                assert one['ignore_flag'] == isinstance(one['mask'], dict)
                if one['ignore_flag']:
                    crowds += 1
                    size = (record['height'], record['width'])
                    assert tuple(one['mask']['size']) == size
                    assert masks.decode(masks.frPyObjects(one['mask'], *size)).any()
    assert crowds >= 1
