"""CIHP's annotations: what is read, left out, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saip.datasets.cihp import MIRRORED, PARTS
from saip.datasets.crops import DataError
from saip.downstream.human_parsing import CIHP
from saip.errors import MissingFileError
from saip.synthetic.scene.parts import CIHP_LABELS


def document() -> dict:
    """Two images with people and one without; the last person is a crowd."""
    images = [dict(id=n, file_name=f'{n}.jpg', width=30, height=20) for n in (7, 8, 9)]
    people = [
        dict(id=1, image_id=7, bbox=[2, 3, 10, 12], parsing='7-1.png'),
        dict(id=2, image_id=7, bbox=[15, 3, 9, 12], parsing='7-4.png'),
        dict(id=3, image_id=9, bbox=[1, 1, 20, 18], parsing='9-1.png'),
        dict(id=4, image_id=9, bbox=[0, 0, 30, 20], iscrowd=1),
    ]
    for person in people:
        person.update(category_id=1, area=100)
    category = dict(id=1, name='person', parsing=list(PARTS))
    return dict(images=images, annotations=people, categories=[category])


def write(root: Path, content: dict) -> Path:
    """The same files for training and validation."""
    for split in ('train', 'val'):
        for kind in ('img', 'parsing', 'seg'):
            (root / f'{split}_{kind}').mkdir(parents=True, exist_ok=True)
        for image in content['images']:
            stem = image['file_name'].removesuffix('.jpg')
            blank = Image.fromarray(np.zeros((20, 30), np.uint8))
            blank.convert('RGB').save(root / f'{split}_img/{stem}.jpg')
            blank.save(root / f'{split}_seg/{stem}.png')
        for person in content['annotations']:
            if isinstance(person.get('parsing'), str):
                Image.fromarray(np.full((20, 30), 5, np.uint8)).save(
                    root / f'{split}_parsing/{person["parsing"]}'
                )
        place = root / f'annotations/CIHP_{split}.json'
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(content))
    return root


def load(root: Path, split: str = 'train') -> CIHP:
    folders = {kind: f'{split}_{kind}' for kind in ('img', 'parsing', 'seg')}
    return CIHP(
        data_root=str(root),
        ann_file=f'annotations/CIHP_{split}.json',
        data_prefix=folders,
        test_mode=split == 'val',
        pipeline=[],
    )


def test_records(tmp_path):
    data = load(write(tmp_path, document()), 'val')
    records = [data.get_data_info(n) for n in range(len(data))]
    assert [record['img_id'] for record in records] == [7, 8, 9]
    first, empty, last = records
    assert (first['width'], first['height']) == (30, 20)
    assert first['img_path'] == str(tmp_path / 'val_img/7.jpg')
    assert first['seg_map_path'] == str(tmp_path / 'val_seg/7.png')
    assert [p['bbox'] for p in first['instances']] == [[2, 3, 12, 15], [15, 3, 24, 15]]
    assert first['instances'][1]['parsing'] == str(tmp_path / 'val_parsing/7-4.png')
    assert empty['instances'] == []
    assert [p['ignore_flag'] for p in last['instances']] == [0, 1]
    assert last['instances'][1]['parsing'] is None


def test_a_training_leaves_out_what_cannot_be_learnt(tmp_path):
    content = document()
    content['annotations'][1]['bbox'] = [15, 3, 9, 0.5]
    root = write(tmp_path, content)
    data = load(root)
    records = [data.get_data_info(n) for n in range(len(data))]
    assert [(r['img_id'], len(r['instances'])) for r in records] == [(7, 1), (9, 2)]
    assert len(load(root, 'val')) == 3
    assert len(load(root, 'val').get_data_info(0)['instances']) == 2


def test_warnings_count_what_is_left_out(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'saip.downstream.human_parsing.dataset.print_log', lambda text, **_: said.append(text)
    )
    content = document()
    content['annotations'][1]['bbox'] = [15, 3, 9, 0.5]
    load(write(tmp_path, content))
    assert [text.split('json: ')[1] for text in said] == [
        'boxes below a pixel, left out: 1, the first in 7.jpg',
        'images without a person, left out: 1, the first in 8.jpg',
    ]


def set_parsing(content, value):
    content['annotations'][0]['parsing'] = value


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('categories'), 'no list of categories'),
        (lambda c: c['categories'][0].update(name='dog'), r'no category person \(.*dog'),
        (
            lambda c: c['categories'][0].update(parsing=PARTS[:19]),
            'category \'person\' names 19 of the parts in "parsing", not the 20 of CIHP',
        ),
        (lambda c: c['categories'][0].pop('parsing'), 'names none of the parts'),
        (
            lambda c: c['categories'][0].update(parsing=[PARTS[0], *PARTS[:0:-1]]),
            "in another order: 1 is 'right shoe', not 'hat'",
        ),
        (lambda c: c['images'][0].pop('width'), r'image 7\.jpg has no width and height'),
        (lambda c: set_parsing(c, None), 'annotation 1 has parsing None, not the name'),
        (lambda c: set_parsing(c, 3), 'annotation 1 has parsing 3, not the name'),
        (lambda c: c['annotations'][0].update(image_id=5), 'unknown image 5'),
        (lambda c: c['annotations'].clear(), 'no image with a person'),
    ],
)
def test_other_annotations_are_refused(tmp_path, change, message):
    content = document()
    write(tmp_path, content)
    change(content)
    path = tmp_path / 'annotations/CIHP_train.json'
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path)
    assert str(path) in str(caught.value)
    assert 'make_cihp.py' in str(caught.value)


def test_a_set_of_which_nobody_has_an_area_is_refused(tmp_path):
    content = document()
    for person in content['annotations']:
        person['bbox'] = [3, 3, 0.5, 5]
    with pytest.raises(DataError, match='no image with a person who has an area'):
        load(write(tmp_path, content))


@pytest.mark.parametrize(
    'name',
    ['annotations/CIHP_val.json', 'val_img/9.jpg', 'val_parsing/7-4.png', 'val_seg/8.png'],
)
def test_a_missing_file_is_named(tmp_path, name):
    root = write(tmp_path, document())
    (root / name).unlink()
    with pytest.raises(MissingFileError, match=name) as caught:
        load(root, 'val')
    assert 'CIHP is a folder with annotations/CIHP_{train,val}.json' in str(caught.value)


def test_a_training_needs_no_labels_of_whole_images(tmp_path):
    root = write(tmp_path, document())
    for path in (root / 'train_seg').iterdir():
        path.unlink()
    assert len(load(root)) == 2


def test_parts_have_the_numbers_of_the_published_set():
    """By the names that the generated set has, written in another way."""
    plain = [''.join(character for character in name if character.isalpha()) for name in PARTS]
    assert [name.lower() for name in CIHP_LABELS] == plain
    for one, other in MIRRORED:
        assert PARTS[one].replace('left', 'right') == PARTS[other]
    sided = [n for n, name in enumerate(PARTS) if name.startswith(('left', 'right'))]
    assert sorted(label for pair in MIRRORED for label in pair) == sided
