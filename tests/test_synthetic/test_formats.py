"""Layouts and annotation files, read as readers of the public sets read them."""

import io
import json
import pickle
import pickletools
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest

from saip.synthetic.formats.coco_format import polygons, run_lengths

# What the annotation files of the public downloads hold, file by file.
COCO_IMAGE = {
    'license', 'file_name', 'coco_url', 'height', 'width', 'date_captured', 'flickr_url', 'id',
}  # fmt: skip
COCO_PERSON = {
    'segmentation', 'num_keypoints', 'area', 'iscrowd', 'keypoints', 'image_id', 'bbox',
    'category_id', 'id',
}  # fmt: skip
WHOLEBODY = {
    *(f'{part}_{field}' for part in ('face', 'lefthand', 'righthand')
      for field in ('box', 'kpts', 'valid')),
    'foot_kpts', 'foot_valid',
}  # fmt: skip
HUMANART_IMAGE = {
    'file_name', 'height', 'width', 'id', 'page_url', 'image_url', 'image_name', 'author',
    'description', 'category',
}  # fmt: skip
HUMANART_PERSON = {
    'keypoints', 'keypoints_21', 'self_contact', 'num_keypoints', 'num_keypoints_21', 'iscrowd',
    'image_id', 'area', 'bbox', 'category_id', 'id', 'annotator',
}  # fmt: skip
AP10K_IMAGE = {'license', 'id', 'file_name', 'width', 'height', 'background'}
AP10K_ANIMAL = {
    'id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'num_keypoints', 'keypoints',
}  # fmt: skip
CATEGORY = {'supercategory', 'id', 'name', 'keypoints', 'skeleton'}


def read(path):
    return json.loads(path.read_text())


def points(row, name='keypoints'):
    return np.array(row[name], float).reshape(-1, 3)


def image_size(path):
    return cv2.imread(str(path)).shape[:2]


def within(inner, outer):
    """Whether a box x, y, w, h lies in another."""
    x, y, width, height = inner
    a, b, wide, tall = outer
    return x >= a and y >= b and x + width <= a + wide and y + height <= b + tall


@pytest.mark.parametrize(('split', 'count'), [('train', 8), ('val', 6)])
def test_coco(drawn, split, count):
    root = drawn('coco')
    document = read(root / f'annotations/person_keypoints_{split}2017.json')
    assert {'info', 'licenses', 'images', 'annotations', 'categories'} == document.keys()
    assert len(document['images']) == count
    assert document['categories'][0].keys() == CATEGORY
    for image in document['images']:
        assert image.keys() == COCO_IMAGE
        assert re.fullmatch(r'\d{12}\.jpg', image['file_name'])
        assert int(image['file_name'][:-4]) == image['id']
        path = root / f'{split}2017' / image['file_name']
        assert image_size(path) == (image['height'], image['width'])
    rows = document['annotations']
    assert len({row['id'] for row in rows}) == len(rows) >= count
    for row in rows:
        assert row.keys() == COCO_PERSON
        marks = points(row)
        assert marks.shape == (17, 3)
        assert row['num_keypoints'] == (marks[:, 2] > 0).sum()
        assert not marks[marks[:, 2] == 0].any()
        assert within(row['bbox'], (0, 0, 256, 192))
        for x, y, state in marks:
            if state:
                left, top, width, height = row['bbox']
                assert left - 1 <= x <= left + width
                assert top - 1 <= y <= top + height


def test_coco_masks_fit_boxes_and_areas(drawn):
    coco_api = pytest.importorskip('pycocotools.coco')
    for split in ('train', 'val'):
        coco = coco_api.COCO(drawn('coco') / f'annotations/person_keypoints_{split}2017.json')
        for row in coco.loadAnns(coco.getAnnIds()):
            mask = coco.annToMask(row).astype(bool)
            columns, lines = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            x, y, width, height = row['bbox']
            assert abs(columns[0] - x) <= 1
            assert abs(lines[0] - y) <= 1
            assert abs(columns[-1] + 1 - x - width) <= 1
            assert abs(lines[-1] + 1 - y - height) <= 1
            # Polygons smooth the outline and fill what a bag leaves open.
            assert row['area'] * 0.9 <= mask.sum() <= row['area'] * 1.35 + 20
            if row['iscrowd']:
                assert mask.sum() == row['area']


def test_a_perfect_estimate_scores_one_with_pycocotools(drawn):
    coco_api = pytest.importorskip('pycocotools.coco')
    evaluation = pytest.importorskip('pycocotools.cocoeval')
    truth = coco_api.COCO(drawn('coco') / 'annotations/person_keypoints_train2017.json')
    rows = [row for row in truth.loadAnns(truth.getAnnIds()) if not row['iscrowd']]
    kept = ('image_id', 'category_id', 'keypoints')
    estimate = truth.loadRes([{**{k: row[k] for k in kept}, 'score': 1.0} for row in rows])
    scorer = evaluation.COCOeval(truth, estimate, 'keypoints')
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    assert scorer.stats[0] == pytest.approx(1.0)


def test_outlines_and_run_lengths_against_pycocotools():
    masks = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.standard_normal((40, 60)).astype(np.float32), (0, 0), 4)
    mask = noise > 0.02
    encoded = masks.frPyObjects(run_lengths(mask), 40, 60)
    np.testing.assert_array_equal(masks.decode(encoded).astype(bool), mask)
    block = np.zeros((20, 30), bool)
    block[3:9, 5:20] = True
    (outline,) = polygons(block)
    corners = {tuple(corner) for corner in np.array(outline).reshape(-1, 2)}
    assert corners == {(5, 3), (20, 3), (20, 9), (5, 9)}
    decoded = masks.decode(masks.merge(masks.frPyObjects(polygons(mask), 40, 60))).astype(bool)
    assert (decoded & mask).sum() / (decoded | mask).sum() > 0.85


def test_wholebody_extends_coco(drawn):
    root = drawn('wholebody')
    found = Counter()
    for split in ('train', 'val'):
        body = read(root / f'annotations/person_keypoints_{split}2017.json')
        whole = read(root / f'annotations/coco_wholebody_{split}_v1.0.json')
        assert whole['images'] == body['images']
        for one, two in zip(body['annotations'], whole['annotations'], strict=True):
            assert two.keys() == COCO_PERSON | WHOLEBODY
            assert {key: two[key] for key in COCO_PERSON} == one
            for part, count in (('face', 68), ('lefthand', 21), ('righthand', 21), ('foot', 6)):
                marks = points(two, f'{part}_kpts')
                assert marks.shape == (count, 3)
                assert two[f'{part}_valid'] == marks.any()
                found[part] += two[f'{part}_valid']
                if part != 'foot' and two[f'{part}_valid']:
                    x, y, width, height = two[f'{part}_box']
                    assert (marks[:, :2] >= (x - 0.01, y - 0.01)).all()
                    assert (marks[:, :2] <= (x + width + 0.01, y + height + 0.01)).all()
            if two['lefthand_valid']:
                # The first joint of a hand is the wrist of the body, which is in whole pixels.
                wrist = points(two)[9]
                assert np.abs(points(two, 'lefthand_kpts')[0, :2] - wrist[:2]).max() <= 0.5
    assert min(found[part] for part in ('face', 'lefthand', 'righthand', 'foot')) >= 3


@pytest.mark.parametrize(
    ('name', 'path', 'truth'),
    [
        (
            'coco',
            'COCO_val2017_detections_AP_H_56_person.json',
            'person_keypoints_val2017.json',
        ),
        (
            'humanart',
            'HumanArt_validation_detections_AP_H_56_person.json',
            'validation_humanart.json',
        ),
    ],
)
def test_detections(drawn, name, path, truth):
    document = read(drawn(name) / 'annotations' / truth)
    rows = [row for row in document['annotations'] if not row['iscrowd']]
    detections = read(drawn(name) / 'person_detection_results' / path)
    by_image = defaultdict(list)
    for row in detections:
        assert row.keys() == {'bbox', 'category_id', 'image_id', 'score'}
        assert 0 < row['score'] < 1
        by_image[row['image_id']].append(np.array(row['bbox']))
    assert by_image.keys() <= {image['id'] for image in document['images']}
    for row in rows:
        box = np.array(row['bbox'])
        tolerance = 0.15 * max(box[2:])
        assert any(
            np.abs(found - box).max() <= tolerance for found in by_image[row['image_id']]
        )
    assert len(detections) > len(rows)


def test_humanart(drawn):
    root = drawn('humanart')
    for split in ('training', 'validation'):
        document = read(root / f'annotations/{split}_humanart.json')
        assert len(document['categories'][0]['keypoints']) == 21
        groups = set()
        for image in document['images']:
            assert image.keys() == HUMANART_IMAGE
            top, images, group, category, name = image['file_name'].split('/')
            assert (top, images) == ('HumanArt', 'images')
            assert category == image['category'].replace(' ', '_')
            assert image['id'] % 10**12 == int(name[:-4])
            path = root.parent / image['file_name']
            assert image_size(path) == (image['height'], image['width'])
            groups.add(group)
        assert groups == {'2D_virtual_human', '3D_virtual_human', 'real_human'}
        for row in document['annotations']:
            assert row.keys() == HUMANART_PERSON
            assert row['keypoints_21'][:51] == row['keypoints']
            assert row['num_keypoints_21'] == (points(row, 'keypoints_21')[:, 2] > 0).sum()
            assert row['id'] // 10**12 == row['image_id'] // 10**12


def test_ap10k(drawn):
    root = drawn('ap10k')
    images = set()
    for split, count in (('train', 12), ('val', 4), ('test', 8)):
        document = read(root / f'annotations/ap10k-{split}-split1.json')
        assert len(document['images']) == count
        sizes = {}
        for image in document['images']:
            assert image.keys() == AP10K_IMAGE
            assert image['id'] not in images
            images.add(image['id'])
            sizes[image['id']] = image_size(root / 'data' / image['file_name'])
            assert sizes[image['id']] == (image['height'], image['width'])
        known = {category['id']: category for category in document['categories']}
        names = {category['name'] for category in known.values()}
        assert names == {'cow', 'dog', 'zebra', 'leopard'}
        for row in document['annotations']:
            assert row.keys() == AP10K_ANIMAL
            assert known[row['category_id']].keys() == CATEGORY
            height, width = sizes[row['image_id']]
            assert within(row['bbox'], (0, 0, width, height))
            assert row['area'] == row['bbox'][2] * row['bbox'][3]
            marks = points(row)
            assert len(marks) == 17
            assert row['num_keypoints'] == (marks[:, 2] > 0).sum() >= 5


def test_crowdhuman(drawn):
    root = drawn('crowdhuman')
    tags, hidden, images = Counter(), 0, set()
    for split, count in (('train', 8), ('val', 6)):
        lines = (root / f'annotation_{split}.odgt').read_text().splitlines()
        assert len(lines) == count
        for row in map(json.loads, lines):
            assert row.keys() == {'ID', 'gtboxes'}
            assert re.fullmatch(r'\d+,[0-9a-f]{16}', row['ID'])
            images.add(row['ID'])
            height, width = image_size(root / 'Images' / f'{row["ID"]}.jpg')
            for number, box in enumerate(row['gtboxes']):
                tags[box['tag']] += 1
                assert box.keys() == {'tag', 'hbox', 'head_attr', 'fbox', 'vbox', 'extra'}
                assert within(box['vbox'], box['fbox'])
                assert within(box['hbox'], box['fbox'])
                assert within(box['vbox'], (0, 0, width, height))
                if box['tag'] == 'mask':
                    assert box['extra'] == {'ignore': 1}
                    continue
                assert box['head_attr'].keys() == {'ignore', 'occ', 'unsure'}
                assert box['extra']['box_id'] == number
                hidden += box['extra']['occ']
    assert len(images) == 14
    assert tags['person'] > 40
    assert tags['mask'] >= 1
    assert 5 < hidden < tags['person'] - 5


def test_lip(drawn):
    root = drawn('lip')
    seen = set()
    for split, count in (('train', 12), ('val', 8)):
        stems = (root / f'{split}_id.txt').read_text().split()
        assert len(set(stems)) == count
        for folder in (f'{split}_images', f'{split}_segmentations'):
            assert {path.stem for path in (root / folder).iterdir()} == set(stems)
        for stem in stems:
            labels = cv2.imread(
                str(root / f'{split}_segmentations/{stem}.png'), cv2.IMREAD_UNCHANGED
            )
            assert labels.dtype == np.uint8
            assert labels.shape == image_size(root / f'{split}_images/{stem}.jpg')
            seen |= set(np.unique(labels))
    assert seen >= {0, 1, 2, 5, 9, 13, 14, 15, 16, 17, 18, 19}
    assert max(seen) <= 19


def test_pa100k(drawn):
    loadmat = pytest.importorskip('scipy.io').loadmat
    root = drawn('pa100k')
    content = loadmat(root / 'annotation.mat')
    attributes = [content['attributes'][i][0][0] for i in range(26)]
    assert (attributes[0], attributes[24], attributes[25]) == ('Female', 'Skirt&Dress', 'boots')
    names = []
    for split, count in (('train', 24), ('val', 8), ('test', 12)):
        labels = content[f'{split}_label']
        assert labels.shape == (count, 26)
        assert set(np.unique(labels)) == {0, 1}
        names += [content[f'{split}_images_name'][i][0][0] for i in range(count)]
        # One age, one direction, at most one of the kinds of lower garments.
        for group in ((1, 2, 3), (4, 5, 6)):
            assert (labels[:, group].sum(1) == 1).all()
        assert (labels[:, (22, 23, 24)].sum(1) <= 1).all()
    assert names == [f'{number:06d}.jpg' for number in range(1, 45)]
    assert {path.name for path in (root / 'data').iterdir()} == set(names)


class Fields(dict):
    """Stands for easydict.EasyDict."""

    def __setstate__(self, state):
        self.update(state)


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return (
            Fields
            if (module, name) == ('easydict', 'EasyDict')
            else super().find_class(module, name)
        )


def test_peta(drawn):
    root = drawn('peta')
    data = (root / 'dataset_zs_run0.pkl').read_bytes()
    classes = [text for op, text, _ in pickletools.genops(data) if op.name == 'GLOBAL']
    assert 'easydict EasyDict' in classes
    assert not [text for text in classes if text.startswith('saip')]
    split = Unpickler(io.BytesIO(data)).load()
    assert split['image_name'] == [f'{number:05d}.png' for number in range(1, 41)]
    assert {path.name for path in (root / 'images').iterdir()} == set(split['image_name'])
    assert split['label'].shape == (40, 35)
    assert set(np.unique(split['label'])) == {0, 1}
    names = split['attr_name']
    assert len(set(names)) == 35
    assert (names[0], names[20], names[34]) == (
        'accessoryHat',
        'lowerBodyTrousers',
        'personalMale',
    )
    part = split['partition']
    # Two images of everybody follow each other; nobody is in two splits.
    people = {name: set(part[name] // 2) for name in ('train', 'val', 'test')}
    assert not people['train'] & people['val'] | people['test'] & (
        people['train'] | people['val']
    )
    np.testing.assert_array_equal(
        part['trainval'], np.concatenate([part['train'], part['val']])
    )
    np.testing.assert_allclose(
        split['weight_train'][0], split['label'][part['train']].mean(0), rtol=1e-6
    )
