"""Ids that tell entries apart, boxes that lie in their images, and readers that ask for both."""

import json

import pytest
from PIL import Image

from saip.datasets import consistency, sources
from saip.datasets.coco import coco_persons
from saip.datasets.consistency import BoxesInImages, Identities
from saip.datasets.crops import Crop, DataError
from saip.datasets.odgt import parse_odgt_line


@pytest.fixture
def warned(monkeypatch):
    messages = []
    monkeypatch.setattr(consistency, 'print_log', lambda text, **_: messages.append(text))
    return messages


@pytest.mark.parametrize(
    ('ids', 'error'),
    [
        ([1, 2, 3, 2], r'f: row 1 and row 3 have the same id 2'),
        (['a', 'b', 'a'], r"f: row 0 and row 2 have the same id 'a'"),
        ([1, '2'], r"f: the id of row 1 is a text \('2'\), that of row 0 a number \(1\)"),
        ([1, True], 'f: row 1 has the id True, neither a whole number nor a text'),
        ([1.0], r'f: row 0 has the id 1\.0, neither'),
        ([None], 'f: row 0 has the id None, neither'),
    ],
)
def test_ids_that_do_not_tell_entries_apart(ids, error):
    with pytest.raises(DataError, match=error):
        identify(ids)


def identify(ids):
    identities = Identities('f')
    for number, identity in enumerate(ids):
        identities.add(identity, f'row {number}')


def judge(boxes, **options):
    inside = BoxesInImages('f', **options)
    for number, box in enumerate(boxes):
        inside.add(box, (100, 50), f'row {number}')
    inside.judge()


def test_boxes_that_lie_in_their_images_say_nothing(warned):
    # 2 pixels and 2 % more are allowed: up to 104 x 53.
    judge([(0, 0, 100, 50), (-4, -3, 108, 56), (0, 0, 104, 53), (90, 40, 10, 10)])
    assert warned == []


@pytest.mark.parametrize(
    'box', [(0, 0, 105, 50), (0, 0, 100, 53.5), (-4.5, 0, 9, 9), (0, -4, 9, 9)]
)
def test_boxes_beyond_their_image_are_counted(warned, box):
    judge([(0, 0, 100, 50), box, box])
    numbers = ', '.join(f'{value:g}' for value in box)
    assert warned == [
        'f: 2 of 3 boxes (bbox: x, y, width, height) reach beyond their image, the first that of '
        f'row 1: {numbers} in 100x50 pixels'
    ]


def test_most_boxes_beyond_their_images_are_refused(warned):
    inside, outside = (0, 0, 9, 9), (60, 10, 50, 5)
    judge([inside] * 5 + [outside] * 5)
    judge([inside] * 4 + [outside] * 5)  # too few to say so
    assert len(warned) == 2
    with pytest.raises(DataError, match=r'6 of 11 boxes .* do not belong to images of these'):
        judge([inside] * 5 + [outside] * 6)
    judge([outside] * 20, may_leave=True)
    assert len(warned) == 2


@pytest.mark.parametrize('options', [{}, {'name': 'fbox', 'may_leave': True}])
def test_corners_are_recognized(options):
    with pytest.raises(DataError, match=r'2 of 3 boxes .* As corners x0, y0, x1, y1 2 of them'):
        judge([(60, 30, 90, 45), (5, 5, 10, 20), (50, 10, 80, 45)], **options)


def document(**changes):
    """Two images of 30x40 pixels with a person each."""
    sizes = {'width': 30, 'height': 40}
    row = {'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4]}
    return {
        'images': [{'id': number, 'file_name': f'{number}.jpg', **sizes} for number in (1, 2)],
        'annotations': [{**row, 'id': 1}, {**row, 'id': 2, 'image_id': 2}],
        'categories': [{'id': 1, 'name': 'person'}],
        **changes,
    }


def persons(**changes):
    return [{'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4], **changes}]


def images(**changes):
    return [{'id': 1, 'file_name': '1.jpg', 'width': 30, 'height': 40, **changes}]


def test_a_document_without_contradictions():
    both = [Crop('1.jpg', (1, 2, 4, 6)), Crop('2.jpg', (1, 2, 4, 6))]
    assert coco_persons(document(), 'f') == both
    assert coco_persons(document(annotations=persons(iscrowd=None)), 'f') == both[:1]
    unsized = [{'id': 1, 'file_name': '1.jpg'}]
    assert coco_persons(document(images=unsized, annotations=persons()), 'f') == both[:1]


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        (
            {'images': [*images(), *images(file_name='b.jpg')]},
            r'f: images\[0\] \(1\.jpg\) and images\[1\] \(b\.jpg\) have the same id 1',
        ),
        (
            {'images': [*images(), *images(id='2')]},
            r"f: the id of images\[1\] \(1\.jpg\) is a text \('2'\), that of images\[0\]",
        ),
        (
            {'categories': [{'id': 1, 'name': 'person'}, {'id': 1, 'name': 'dog'}]},
            r'f: categories\[0\] \(person\) and categories\[1\] \(dog\) have the same id 1',
        ),
        ({'images': images(width=-1)}, r'f: image 1\.jpg has width -1 and height 40, not two'),
        ({'images': images(height=40.5)}, r'f: image 1\.jpg has width 30 and height 40\.5'),
        ({'annotations': persons(iscrowd='0')}, "f: annotation 1 has iscrowd '0', neither"),
        (
            {'annotations': persons(num_keypoints=-1)},
            'f: annotation 1 has num_keypoints -1, not a number of points',
        ),
        (
            {'annotations': persons(category_id='1')},
            "f: annotation 1 has category_id '1', a text, but ids of categories such as 1 are",
        ),
        ({'annotations': persons(category_id=1.0)}, r'f: annotation 1 has category_id 1\.0'),
        ({'annotations': persons(image_id='1')}, "f: an annotation of an unknown image '1'"),
        (
            {'annotations': persons(bbox=[16, 22, 28, 38])},
            r'f: 1 of 1 boxes .*annotation 1: 16, 22, 28, 38 in 30x40 pixels\. As corners',
        ),
    ],
)
def test_a_contradiction_in_a_coco_file_is_named(changes, error):
    with pytest.raises(DataError, match=error):
        coco_persons(document(**changes), 'f')


@pytest.mark.parametrize(('wrong', 'refused'), [(0, False), (1, False), (2, False), (3, True)])
def test_stated_sizes_are_compared_with_images(tmp_path, monkeypatch, wrong, refused):
    messages = []
    monkeypatch.setattr(sources, 'print_log', lambda text, *_: messages.append(text))
    for number in range(4):
        size = (60, 80) if number < wrong else (30, 40)
        Image.new('RGB', size).save(tmp_path / f'{number}.png')
    stated = {'width': 30, 'height': 40}
    rows = [{'id': n, 'file_name': f'{n}.png', **stated} for n in range(4)]
    people = [persons(image_id=n, id=n)[0] for n in range(4)]
    listing = tmp_path / 'boxes.json'
    listing.write_text(json.dumps(document(images=rows, annotations=people)))
    text = (
        f'{listing}: {wrong} of 4 images that were looked at have another size than it states, '
        'the first: 0.png has 60x80 pixels, not 30x40'
    )
    if refused:
        with pytest.raises(DataError, match=rf'{text}\. Its boxes belong to other images'):
            sources.open_source(str(tmp_path), 'boxes.json', '')
    else:
        _, crops, _ = sources.open_source(str(tmp_path), 'boxes.json', '')
        assert crops == [Crop(f'{n}.png', (1, 2, 4, 6)) for n in range(4)]
        assert messages == ([text] if wrong else [])


@pytest.mark.parametrize('ignore', ['"0"', 'null', '2', '[]'])
def test_a_mark_to_ignore_that_is_neither_0_nor_1_is_named(ignore):
    line = f'{{"ID": "a", "gtboxes": [{{"tag": "person", "extra": {{"ignore": {ignore}}}}}]}}'
    with pytest.raises(DataError, match=r'here: box 1 has extra\.ignore .*, neither 0 nor 1'):
        parse_odgt_line(line, 'here')
