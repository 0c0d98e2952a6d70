"""Files are looked at before a training begins: what is wrong is named, with the layout."""

import json
import shutil

import numpy as np
import pytest

from saip.datasets.crops import DataError
from saip.engine.launch import StartError, read_config, train
from saip.registry import DATASETS

from .small import TASKS, path, points, resized, short, shown

DETECTIONS = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'


def dataset(task, root, **options):
    """The set that a configuration is tested on, below the data root, with annotated boxes."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv('SAIP_DATA', str(root))
        shipped = read_config(path(task)).test_dataloader.dataset
    return DATASETS.build({**shipped, 'pipeline': [], 'bbox_file': None, **options})


@pytest.fixture
def copy(drawn, tmp_path):
    """Copies to be damaged."""
    for name in ('coco', 'ap10k', 'HumanArt', 'ChimpACT'):
        shutil.copytree(drawn / name, tmp_path / name)
    return tmp_path


def edit(file, change):
    """Change a JSON document in place."""
    document = json.loads(file.read_text())
    file.write_text(json.dumps(change(document) or document))


@pytest.mark.parametrize('task', TASKS)
def test_records_are_those_of_the_annotations(drawn, task):
    found = dataset(task, drawn)
    document = json.loads((drawn / TASKS[task].tested).read_text())
    people = shown(document)
    records = [found.get_data_info(i) for i in range(len(found))]
    assert sorted(r['id'] for r in records) == sorted(row['id'] for row in people)
    rows = {row['id']: row for row in people}
    names = {image['id']: image['file_name'] for image in document['images']}
    for record in records:
        row = rows[record['id']]
        marks = points(row, TASKS[task].landmarks)
        assert np.allclose(record['keypoints'][0], marks[:, :2])
        assert np.array_equal(record['keypoints_visible'][0] > 0, marks[:, 2] > 0)
        assert record['img_path'].endswith(names[row['image_id']])


def test_boxes_of_a_detector_take_the_place_of_annotated_ones(drawn):
    file = drawn / 'coco' / DETECTIONS
    found = dataset('coco', drawn, bbox_file=str(file))
    rows = json.loads(file.read_text())
    assert len(found) == len(rows)
    for index, row in enumerate(rows):
        record = found.get_data_info(index)
        x, y, width, height = row['bbox']
        assert np.allclose(record['bbox'], [[x, y, x + width, y + height]], atol=1e-3)
        assert record['bbox_score'] == pytest.approx(row['score'])


@pytest.mark.parametrize('task', ['coco', 'wholebody'])
def test_records_of_detections_are_those_of_mmpose(drawn, task):
    options = dict(bbox_file=str(drawn / 'coco' / DETECTIONS), test_mode=True)
    ours = dataset(task, drawn, **options)
    theirs = TASKS[task].library(
        ann_file=str(drawn / TASKS[task].tested), data_prefix=ours.data_prefix, **options
    )
    assert len(ours) == len(theirs) > 0
    for index in range(len(theirs)):
        record, wanted = ours.get_data_info(index), theirs.get_data_info(index)
        assert record.pop('category_id') == 1  # what the metric takes where none is said
        assert record.pop('stated_size') == wanted['img_shape']
        assert record.keys() == wanted.keys()
        for key, value in wanted.items():
            assert np.array_equal(record[key], value), key
            assert getattr(record[key], 'dtype', None) == getattr(value, 'dtype', None), key


@pytest.mark.parametrize('task', TASKS)
def test_missing_annotations_are_named_with_the_layout(copy, task):
    file = copy / TASKS[task].tested
    file.unlink()
    with pytest.raises(
        FileNotFoundError, match=rf'{file.name}: no such file\. .* is .*folder'
    ) as e:
        dataset(task, copy)
    assert str(file) in str(e.value).replace('/./', '/')


@pytest.mark.parametrize('task', TASKS)
def test_missing_images_are_counted(copy, task):
    images = [
        *(copy / 'coco/val2017').glob('*.jpg'),
        *(copy / 'HumanArt/images').rglob('*.jpg'),
        *(copy / 'ap10k/data').glob('*.jpg'),
        *(copy / 'ChimpACT').rglob('*.jpg'),
    ]
    for image in images:
        image.unlink()
    with pytest.raises(
        FileNotFoundError, match=r'\.jpg: no such file, and (\d+) of the \1 files'
    ):
        dataset(task, copy)


def test_one_missing_image_is_named(copy):
    (copy / 'coco/val2017/000000050003.jpg').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'000000050003\.jpg: no such file, and 1 of the'
    ):
        dataset('coco', copy)


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('{"images": [', 'not JSON'),
        ('[]', 'not a COCO file, it has no list of images'),
        ('{"images": []}', 'not a COCO file, it has no list of annotations'),
    ],
)
def test_another_kind_of_file_is_refused(copy, text, error):
    (copy / TASKS['coco'].tested).write_text(text)
    with pytest.raises(DataError, match=f'{error}.*COCO is a folder'):
        dataset('coco', copy)


@pytest.mark.parametrize(
    ('task', 'change', 'error'),
    [
        ('coco', lambda row: row.pop('keypoints'), 'has no keypoints, a list of 17 points'),
        ('coco', lambda row: row['keypoints'].pop(), 'keypoints has 50 values, but 17 points'),
        (
            'ap10k',
            lambda row: row['keypoints'].append(0),
            'keypoints has 52 values, but 17 poi',
        ),
        (
            'wholebody',
            lambda row: row.pop('face_kpts'),
            'has no face_kpts, a list of 68 points',
        ),
        ('wholebody', lambda row: row.pop('segmentation'), 'has no segmentation'),
        ('wholebody', lambda row: row['foot_kpts'].pop(), 'foot_kpts has 17 values, but 6 poi'),
        ('coco', lambda row: row.pop('area'), 'has no area'),
        ('coco', lambda row: row.update(bbox=[1, 2, 3]), 'bbox is not four numbers'),
        ('coco', lambda row: row.update(image_id=5), 'an annotation of an unknown image 5'),
    ],
)
def test_a_damaged_annotation_is_named(copy, task, change, error):
    file = copy / TASKS[task].tested
    edit(file, lambda document: change(document['annotations'][1]) and None)
    with pytest.raises(DataError, match=rf'{error}.* is .*folder') as caught:
        dataset(task, copy)
    assert str(file) in str(caught.value)


def test_a_image_without_its_size_is_named(copy):
    edit(copy / TASKS['coco'].tested, lambda d: d['images'][0].pop('width') and None)
    with pytest.raises(DataError, match=r'image 000000050001\.jpg has no width and height'):
        dataset('coco', copy)


@pytest.mark.parametrize('task', ['coco', 'ap10k'])
def test_images_without_anybody_are_refused(copy, task):
    def nobody(document):
        for row in document['annotations']:
            row['num_keypoints'] = 0
            row['keypoints'] = [0] * len(row['keypoints'])

    edit(copy / TASKS[task].tested, nobody)
    with pytest.raises(DataError, match=r'no image in it has an annotated person'):
        dataset(task, copy)


@pytest.mark.parametrize(
    ('content', 'error'),
    [
        (None, 'no such file. It holds the boxes of a person detector; with bbox_file=None'),
        ({'bbox': []}, 'not a list of detections'),
        ([], 'holds no detection of a person'),
        ([dict(category_id=2)], 'holds no detection of a person'),
        ([dict(image_id=50001)], 'detection 0 has no category_id'),
        (
            [dict(category_id=1, image_id=3)],
            'detection 0 is in image 3, unknown to .*val2017',
        ),
        ([dict(category_id=1, image_id=50001)], 'detection 0: bbox is not four numbers'),
        ([dict(category_id=1, image_id=50001, bbox=[1, 2, 3, 4])], 'detection 0 has no score'),
    ],
)
def test_wrong_detections_are_named(copy, content, error):
    file = copy / 'coco' / DETECTIONS
    file.unlink()
    if content is not None:
        file.write_text(json.dumps(content))
    kind = FileNotFoundError if content is None else DataError
    with pytest.raises(kind, match=error) as caught:
        dataset('coco', copy, bbox_file=str(file))
    assert str(file) in str(caught.value)


@pytest.mark.usefixtures('fresh_mmengine')
def test_a_run_stops_before_its_first_step_with_one_line(copy, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', str(copy))
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    (copy / 'coco' / DETECTIONS).unlink()
    options = resized('coco') | short(tmp_path / 'work')
    with pytest.raises(StartError, match=rf'{DETECTIONS}: no such file\. It holds the boxes'):
        train(path('coco'), options=options)
    edit(copy / 'coco/annotations/person_keypoints_train2017.json', lambda _: [1])
    with pytest.raises(StartError, match=r'person_keypoints_train2017\.json: not a COCO file'):
        train(path('coco'), options=options)
