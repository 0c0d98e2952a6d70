"""Values that contradict each other are refused, and categories have the ids of the files."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

from saip.datasets import consistency
from saip.datasets.crops import DataError
from saip.downstream.pose.datasets import CheckedKeypoints
from saip.engine import launch
from saip.engine.preflight import ConflictError

from .oracle import evaluate
from .small import TASKS, path
from .test_datasets import dataset, edit

FOLDERS = {'coco': 'coco', 'wholebody': 'coco', 'humanart': 'HumanArt', 'ap10k': 'ap10k'}


@pytest.fixture
def place(drawn, tmp_path):
    """A function from a task to a copy of its set to be damaged: root and tested annotations."""

    def make(task):
        shutil.copytree(drawn / FOLDERS[task], tmp_path / FOLDERS[task])
        return tmp_path, tmp_path / TASKS[task].tested

    return make


def people(document):
    """Annotations that count."""
    return [r for r in document['annotations'] if r['num_keypoints'] and not r['iscrowd']]


@pytest.mark.parametrize('tested', [True, False])
@pytest.mark.parametrize('task', FOLDERS)
def test_annotation_ids_that_begin_again_in_each_image_are_refused(place, task, tested):
    root, file = place(task)

    def begin_again(document):
        for image in document['images']:
            rows = [r for r in document['annotations'] if r['image_id'] == image['id']]
            for number, row in enumerate(rows, 1):
                row['id'] = number

    edit(file, begin_again)
    rows = json.loads(file.read_text())['annotations']
    again = next(i for i, row in enumerate(rows) if i and row['id'] == 1)
    with pytest.raises(
        DataError,
        match=rf'{file.name}: annotations\[0\] \(image {rows[0]["image_id"]}\) and annotations'
        rf'\[{again}\] \(image {rows[again]["image_id"]}\) have the same id 1\. .*folder',
    ):
        dataset(task, root, test_mode=tested)


@pytest.mark.parametrize('tested', [True, False])
@pytest.mark.parametrize('task', FOLDERS)
def test_two_images_with_one_id_are_refused(place, task, tested):
    root, file = place(task)
    edit(file, lambda d: d['images'][2].update(id=d['images'][0]['id']))
    images = json.loads(file.read_text())['images']
    with pytest.raises(
        DataError,
        match=rf'images\[0\] \({images[0]["file_name"]}\) and images\[2\] '
        rf'\({images[2]["file_name"]}\) have the same id {images[0]["id"]}\.',
    ):
        dataset(task, root, test_mode=tested)


def everywhere(key, value):
    """A change of the images and of the annotations that name them."""

    def change(document):
        for row in document['images']:
            row['id'] = value(row['id'])
        for row in document['annotations']:
            row[key] = value(row[key])

    return change


CONTRADICTIONS = {
    'ids of images are texts': (
        everywhere('image_id', str),
        r"image 000000050001\.jpg has the id '50001', not a number",
    ),
    'one id of a image is a text': (
        lambda d: d['images'][1].update(id='a'),
        r"id of images\[1\] \(000000050002\.jpg\) is a text \('a'\), that of images\[0\]",
    ),
    'one id of an annotation is a text': (
        lambda d: d['annotations'][1].update(id='2'),
        r"id of annotations\[1\] .* is a text \('2'\), that of annotations\[0\]",
    ),
    'an annotation without an id': (
        lambda d: d['annotations'][0].update(id=None),
        r'annotations\[0\] \(image 50001\) has the id None, neither a whole number',
    ),
    'a negative id': (
        lambda d: d['annotations'][0].update(id=-1),
        r'annotation -1 has a negative id, .*numbers from 0 on',
    ),
    'landmarks in an empty box': (
        lambda d: people(d)[0]['bbox'].__setitem__(2, 0),
        r'annotation \d+ has landmarks, but an empty bbox',
    ),
    'a box of negative size': (
        lambda d: d['annotations'][0]['bbox'].__setitem__(3, -5),
        r'bbox \[.*-5\] has a negative size',
    ),
    'landmarks as shares of the image': (
        lambda d: [
            row.update(
                keypoints=[
                    v if i % 3 == 2 else v / 1000 for i, v in enumerate(row['keypoints'])
                ]
            )
            for row in d['annotations']
        ],
        r'of \d+ of \d+ people no landmark lies near the bbox, the first annotation \d+: 0\.',
    ),
    'a category as a text': (
        lambda d: d['annotations'][0].update(category_id='1'),
        r"annotation 1 has category_id '1', a text, but ids of categories such as 1 are not",
    ),
    'a category that is not listed': (
        lambda d: d['annotations'][0].update(category_id=9),
        'annotation 1 has category_id 9, which no category has',
    ),
    'a width of zero': (
        lambda d: d['images'][0].update(width=0),
        r'image 000000050001\.jpg has width 0 and height 192, not two positive whole numbers',
    ),
    'a width as a text': (
        lambda d: d['images'][0].update(width='256'),
        r"has width '256' and height 192, not two positive",
    ),
    'a crowd as a text': (
        lambda d: d['annotations'][0].update(iscrowd='0'),
        "annotation 1 has iscrowd '0', neither 0 nor 1",
    ),
    'a number of landmarks as a text': (
        lambda d: d['annotations'][0].update(num_keypoints='17'),
        "annotation 1 has num_keypoints '17', not a number of points",
    ),
    'nobody by number': (
        lambda d: d['annotations'][0].update(num_keypoints=0),
        r'annotation 1 has num_keypoints 0, but \d+ of its keypoints have a visibility above 0',
    ),
    'nobody by visibility': (
        lambda d: d['annotations'][0].update(keypoints=[3, 4, 0] * 17),
        r'annotation 1 has num_keypoints \d+, but 0 of its keypoints have',
    ),
    'a landmark as a text': (
        lambda d: d['annotations'][0].update(keypoints=['3', 4, 1] * 17),
        'annotation 1: keypoints holds something else than finite numbers',
    ),
    'an area in shares of the image': (
        lambda d: d['annotations'][0].update(area=0.0),
        'annotation 1 has the area 0 in a box of',
    ),
    'an area larger than its box': (
        lambda d: d['annotations'][0].update(area=256 * 192 * 4),
        'annotation 1 has the area 196608 in a box of',
    ),
    'an area as a text': (
        lambda d: d['annotations'][0].update(area='9'),
        "annotation 1 has the area '9', not a number",
    ),
}


@pytest.mark.parametrize('name', CONTRADICTIONS)
def test_a_contradiction_is_named(place, name):
    change, error = CONTRADICTIONS[name]
    root, file = place('coco')
    edit(file, lambda document: change(document) and None)
    with pytest.raises(DataError, match=f'{error}.* COCO is a folder'):
        dataset('coco', root)


def test_an_image_of_another_size_than_stated_is_named(place):
    root, _ = place('coco')
    image = str(root / 'coco/val2017/000000050001.jpg')
    cv2.imwrite(image, np.zeros((96, 128, 3), np.uint8))
    found = dataset(
        'coco', root, pipeline=[dict(type='LoadImage'), dict(type='PackPoseInputs')]
    )
    places = [found.get_data_info(i)['img_path'] for i in range(len(found))]
    other = next(i for i, name in enumerate(places) if name != image)
    assert found[other]['data_samples'].ori_shape == (192, 256)
    with pytest.raises(
        DataError, match=rf'{image} has 128x96 pixels, but .*val2017\.json states 256x192'
    ):
        found[places.index(image)]


@pytest.fixture
def warned(monkeypatch):
    messages = []
    monkeypatch.setattr(consistency, 'print_log', lambda text, **_: messages.append(text))
    return messages


def corners(row):
    x, y, width, height = row['bbox']
    row['bbox'] = [x, y, x + width, y + height]


def beyond(rows, size=(256, 192)):
    """Which corners, read as sizes, reach beyond the image by more than 2 pixels and 2 %."""
    marked = []
    for number, (x, y, width, height) in enumerate(row['bbox'] for row in rows):
        right, lower = (1.02 * side + 2 for side in size)
        if x + width > right or y + height > lower:
            marked.append(number)
    return marked


def test_annotated_corners_are_refused(place):
    root, file = place('coco')
    edit(file, lambda d: [corners(r) for r in d['annotations'] if not r['iscrowd']] and None)
    rows = json.loads(file.read_text())['annotations']
    marked = beyond(rows)
    assert len(marked) > len(rows) / 2
    with pytest.raises(
        DataError,
        match=rf'{len(marked)} of {len(rows)} boxes \(bbox: x, y, width, height\) reach beyond '
        rf'their image, the first that of annotation {rows[marked[0]]["id"]}: .* in 256x192 '
        r'pixels\. As corners x0, y0, x1, y1 \d+ of them would lie inside',
    ):
        dataset('coco', root)


def test_one_box_beyond_its_image_is_warned_of(place, warned):
    root, file = place('coco')
    edit(file, lambda d: d['annotations'][1].update(bbox=[100, 50, 200, 100]))
    total = len(json.loads(file.read_text())['annotations'])
    dataset('coco', root)
    assert warned == [
        f'{root}/{TASKS["coco"].tested}: 1 of {total} boxes (bbox: x, y, width, height) reach '
        'beyond their image, the first that of annotation 2: 100, 50, 200, 100 in 256x192 pixels'
    ]


def detect(file, found, category=lambda row: row['category_id'], change=lambda row: None):
    """Write the annotated boxes as if a detector had found them."""
    rows = []
    for row in people(json.loads(file.read_text())):
        detection = {key: row[key] for key in ('image_id', 'bbox')}
        rows.append({**detection, 'score': 0.9, 'category_id': category(row)})
        change(rows[-1])
    found.write_text(json.dumps(rows))
    return str(found)


def test_detected_corners_are_refused_or_read(place, tmp_path):
    root, file = place('coco')
    found = detect(file, tmp_path / 'found.json', change=corners)
    rows = json.loads((tmp_path / 'found.json').read_text())
    marked = beyond(rows)
    with pytest.raises(
        DataError, match=rf'found\.json: {len(marked)} of {len(rows)} boxes .*bbox_corners=True'
    ):
        dataset('coco', root, bbox_file=found)
    read = dataset('coco', root, bbox_file=found, bbox_corners=True)
    assert [read.get_data_info(i)['bbox'][0].tolist() for i in range(len(read))] == [
        pytest.approx(row['bbox'], abs=1e-3) for row in rows
    ]
    right = detect(file, tmp_path / 'right.json')
    with pytest.raises(DataError, match=r'detection \d+: bbox .* has a negative size'):
        dataset('coco', root, bbox_file=right, bbox_corners=True)


def renumber(file, numbers):
    """Give categories other ids."""

    def change(document):
        for row in document['categories']:
            row['id'] = numbers.get(row['id'], row['id'])
        for row in document['annotations']:
            row['category_id'] = numbers.get(row['category_id'], row['category_id'])

    edit(file, change)


@pytest.fixture
def seen(monkeypatch):
    """Detections know the landmarks of the annotations with the same boxes."""
    load = CheckedKeypoints._load_detection_results

    def with_landmarks(self):
        rows = people(json.loads(Path(self.ann_file).read_text()))
        records = load(self)
        assert len(records) == len(rows)
        for record, row in zip(records, rows, strict=True):
            marks = np.array(row['keypoints'], np.float32).reshape(1, -1, 3)
            record['keypoints'] = marks[..., :2]
            record['keypoints_visible'] = np.minimum(1, marks[..., 2])
        return records

    monkeypatch.setattr(CheckedKeypoints, '_load_detection_results', with_landmarks)


@pytest.mark.sampled(3)
@pytest.mark.usefixtures('seen', 'fresh_mmengine')
@pytest.mark.parametrize(
    ('task', 'numbers'),
    [('coco', {}), ('coco', {1: 0}), ('humanart', {1: 0}), ('ap10k', {}), ('ap10k', {28: 1})],
)
def test_detections_are_compared_by_their_own_categories(
    place, tmp_path, monkeypatch, task, numbers
):
    root, file = place(task)
    renumber(file, numbers)
    monkeypatch.setenv('SAIP_DATA', str(root))
    found = detect(file, tmp_path / 'found.json')
    scores = evaluate(
        task, tmp_path, monkeypatch, **{'test_dataloader.dataset.bbox_file': found}
    )
    assert scores['coco/AP'] == pytest.approx(1)
    assert scores['coco/AR'] == pytest.approx(1)


@pytest.mark.usefixtures('fresh_mmengine')
@pytest.mark.parametrize('task', ['coco', 'humanart'])
def test_annotated_people_may_have_category_zero(place, tmp_path, monkeypatch, task):
    root, file = place(task)
    renumber(file, {1: 0})
    monkeypatch.setenv('SAIP_DATA', str(root))
    assert evaluate(task, tmp_path, monkeypatch)['coco/AP'] == pytest.approx(1)


def test_another_category_than_that_of_the_whole_body_metric_is_refused(place):
    root, file = place('wholebody')
    renumber(file, {1: 0})
    with pytest.raises(
        DataError, match=r'category_id 0 \(person\), but the metric knows 1 alone: give the'
    ):
        dataset('wholebody', root)
    assert len(dataset('wholebody', root, test_mode=False)) > 0  # a training has no metric


@pytest.mark.parametrize(
    ('task', 'category', 'error'),
    [
        ('coco', 0, r'no detection of a person \(category_id 1 is person in .*val2017'),
        ('ap10k', 28, r'all detections have category_id 28 \(leopard\), but .* 4 categories'),
        ('ap10k', 1, 'detection 0 has category_id 1, unknown to .*ap10k-test-split1'),
        ('ap10k', '28', "detection 0 has category_id '28', a text, but ids of categories such"),
    ],
)
def test_detections_of_other_categories_are_named(place, tmp_path, task, category, error):
    root, file = place(task)
    found = detect(file, tmp_path / 'found.json', lambda row: category)
    with pytest.raises(DataError, match=error):
        dataset(task, root, bbox_file=found)


@pytest.mark.usefixtures('fresh_mmengine')
def test_species_that_no_detection_shows_are_named(place, tmp_path, caplog):
    root, file = place('ap10k')
    rows = json.loads(file.read_text())
    names = {row['id']: row['name'] for row in rows['categories']}
    shown = sorted({row['category_id'] for row in people(rows)})
    found = detect(file, tmp_path / 'found.json', lambda row: shown[row['category_id'] % 2])
    logger = MMLogger.get_instance('species', logger_name='species')
    logger.addHandler(caplog.handler)
    dataset('ap10k', root, bbox_file=found)
    absent = ', '.join(sorted(names[i] for i in shown[2:]))
    said = f'no detection of {len(shown) - 2} of the {len(shown)} categories'
    assert any(said in line and absent in line for line in caplog.messages)


@pytest.mark.parametrize('task', FOLDERS)
def test_other_annotations_for_the_set_than_for_the_metric_are_refused(
    task, drawn, monkeypatch
):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    file = str(drawn / TASKS[task].tested)
    cfg = launch.read_config(path(task))
    for part, key in (('val', 'dataset.ann_file'), ('test', 'dataset.data_root')):
        options = {f'{part}_dataloader.{key}': '/other/subset.json'}
        kept = os.path.normpath(cfg[f'{part}_evaluator'].ann_file)
        with pytest.raises(
            ConflictError,
            match=rf'{part}_dataloader\.dataset\.ann_file is /other/subset\.json.*, but '
            rf'{part}_evaluator\.ann_file {kept}: .* set both keys',
        ):
            run(part, task, options)
    with pytest.raises(
        ConflictError, match=rf'{file}, but test_evaluator\.ann_file other\.json'
    ):
        run('test', task, {'test_evaluator.ann_file': 'other.json'})


def run(part, task, options):
    if part == 'val':
        launch.train(path(task), options=options)
    else:
        launch.evaluate(path(task), 'none.pth', options=options)


@pytest.mark.usefixtures('fresh_mmengine')
def test_a_subset_for_both_is_evaluated(place, tmp_path, monkeypatch):
    root, file = place('coco')
    monkeypatch.setenv('SAIP_DATA', str(root))
    subset = tmp_path / 'subset.json'
    shutil.copy(file, subset)

    def first_three(document):
        document['images'] = document['images'][:3]
        names = {image['id'] for image in document['images']}
        document['annotations'] = [
            row for row in document['annotations'] if row['image_id'] in names
        ]

    edit(subset, first_three)
    keys = ('test_dataloader.dataset.ann_file', 'test_evaluator.ann_file')
    scores = evaluate('coco', tmp_path, monkeypatch, **dict.fromkeys(keys, str(subset)))
    assert scores['coco/AP'] == pytest.approx(1)
