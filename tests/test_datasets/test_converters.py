"""The converters of the paper's pretraining sets, on small copies of the native layouts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saip.datasets.converters.folder import IMAGENET_COUNT
from saip.datasets.converters.hp1m import make_hp1m
from saip.datasets.converters.hp1m_sources import SOURCES, mask_boxes, parse_aic, parse_odgt
from saip.datasets.converters.luperson import LUPERSON_SIZES, make_luperson
from saip.datasets.converters.report import Count, count_table, count_warnings
from saip.datasets.crops import Crop, DataError
from saip.datasets.manifest import MANIFEST_NAME, read_manifest
from saip.datasets.person_images import PersonImages
from tests.test_datasets.image_files import encode, pixels
from tests.tiny import NO_REALDATA, REALDATA, ROOT

GENUINE = REALDATA / 'native/crowdhuman_annotation_sample/test_annotation_train.odgt'


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


IMAGE = encode(pixels(100, 80))
PERSON = [{'id': 1, 'name': 'person'}]


def coco(name, rows, categories=PERSON):
    rows = [{'image_id': 5, 'category_id': 1, 'id': i, **row} for i, row in enumerate(rows)]
    images = [{'id': 5, 'file_name': name, 'width': 80, 'height': 100}]
    return {'images': images, 'annotations': rows, 'categories': categories}


def make_sources(root):
    """Write the seven sources in their own formats, each with one image of 80 x 100."""
    aic = root / 'aic' / 'ai_challenger_keypoint_train_20170909'
    put(aic / 'keypoint_train_images_20170902' / 'a.jpg', IMAGE)
    humans = {'human1': [10, 20, 60, 90], 'human2': [0, 0, 20, 30]}
    put(
        aic / 'keypoint_train_annotations_20170909.json',
        [{'image_id': 'a', 'human_annotations': humans, 'url': ''}],
    )
    put(root / 'coco/train2017/c.jpg', IMAGE)
    rows = [
        {'bbox': [1.5, 2, 40, 50], 'iscrowd': 0, 'num_keypoints': 3},
        {'bbox': [0, 0, 40, 50], 'iscrowd': 0, 'num_keypoints': 0},
        {'bbox': [0, 0, 40, 50], 'iscrowd': 1, 'num_keypoints': 3},
    ]
    put(root / 'coco/annotations/person_keypoints_train2017.json', coco('c.jpg', rows))
    cihp = root / 'CIHP/instance-level_human_parsing/Training'
    ids = np.zeros((100, 80), np.uint8)
    ids[10:60, 5:45] = 2
    ids[50:100, 40:80] = 7
    put(cihp / 'Images/p.jpg', IMAGE)
    put(cihp / 'Human_ids/p.png', encode(ids, 'PNG'))
    mhp = root / 'MHPv2/LV-MHP-v2/train'
    put(mhp / 'images/21.jpg', IMAGE)
    for number, columns in enumerate([(0, 30), (30, 80)], 1):
        mask = np.zeros((100, 80, 3), np.uint8)
        mask[20:70, slice(*columns), 0] = 9
        put(mhp / f'parsing_annos/21_02_{number:02d}.png', encode(mask, 'PNG'))
    people = [
        {'tag': 'person', 'fbox': [-9, 0, 99, 99], 'vbox': [1, 2, 30, 40], 'extra': {}},
        {'tag': 'person', 'fbox': [0, 0, 9, 9], 'vbox': [0, 0, 50, 50], 'extra': {'ignore': 1}},
        {'tag': 'mask', 'fbox': [0, 0, 9, 9], 'vbox': [0, 0, 50, 50], 'extra': {'ignore': 1}},
        {'tag': 'person', 'fbox': [70, 90, 30, 30], 'vbox': [70, 90, 10, 10]},
    ]
    put(root / 'CrowdHuman/Images/x,1.jpg', IMAGE)
    put(
        root / 'CrowdHuman/annotation_train.odgt',
        json.dumps({'ID': 'x,1', 'gtboxes': people}) + '\n',
    )
    put(root / 'Fashionpedia/train/f.jpg', IMAGE)
    garments = [{'bbox': [10, 10, 20, 20], 'category_id': 3}, {'bbox': [20, 5, 30.5, 80]}]
    put(
        root / 'Fashionpedia/annotations/instances_attributes_train2020.json',
        coco('f.jpg', garments, [{'id': 3, 'name': 'shirt'}]),
    )
    put(root / 'HumanArt/images/real/h.jpg', IMAGE)
    put(
        root / 'HumanArt/annotations/training_humanart.json',
        coco('HumanArt/images/real/h.jpg', [{'bbox': [0, 0, 79.2, 100], 'iscrowd': 0}]),
    )


EXPECTED = [
    ('CIHP/instance-level_human_parsing/Training/Images/p.jpg', (5, 10, 45, 60)),
    ('CIHP/instance-level_human_parsing/Training/Images/p.jpg', (40, 50, 80, 100)),
    ('CrowdHuman/Images/x,1.jpg', (1, 2, 31, 42)),
    ('Fashionpedia/train/f.jpg', (10, 5, 51, 85)),
    ('HumanArt/images/real/h.jpg', (0, 0, 80, 100)),
    ('MHPv2/LV-MHP-v2/train/images/21.jpg', (0, 20, 30, 70)),
    ('MHPv2/LV-MHP-v2/train/images/21.jpg', (30, 20, 80, 70)),
    (
        'aic/ai_challenger_keypoint_train_20170909/keypoint_train_images_20170902/a.jpg',
        (0, 0, 20, 30),
    ),
    (
        'aic/ai_challenger_keypoint_train_20170909/keypoint_train_images_20170902/a.jpg',
        (10, 20, 60, 90),
    ),
    ('coco/train2017/c.jpg', (1, 2, 42, 52)),
]


def test_hp1m_from_seven_native_layouts(tmp_path):
    make_sources(tmp_path)
    counts = make_hp1m(str(tmp_path), str(tmp_path / 'HP1M' / MANIFEST_NAME))
    dataset = PersonImages(str(tmp_path / 'HP1M'))
    assert [tuple(dataset.crop(index)) for index in range(len(dataset))] == EXPECTED
    assert all(int(dataset[index]['replaced']) == -1 for index in range(len(dataset)))
    table = {row.name: (row.found, row.written) for row in counts}
    assert table == {
        'AIC': (2, 2),
        'COCO': (1, 1),
        'CIHP': (2, 2),
        'MHPv2': (2, 2),
        'CrowdHuman': (2, 1),
        'Fashionpedia': (1, 1),
        'HumanArt': (1, 1),
    }
    assert sum(source.expected for source in SOURCES.values()) == 1_218_136
    assert len(count_warnings(counts)) == 8


def test_hp1m_parts_and_missing_sources(tmp_path):
    make_sources(tmp_path)
    (tmp_path / 'CIHP').rename(tmp_path / 'elsewhere')
    out = str(tmp_path / 'out' / MANIFEST_NAME)
    with pytest.raises(FileNotFoundError, match='no folder CIHP; use --only'):
        make_hp1m(str(tmp_path), out)
    counts = make_hp1m(str(tmp_path), out, only=['MHPv2', 'COCO'])
    assert [row.name for row in counts] == ['MHPv2', 'COCO']
    with pytest.raises(DataError, match='no source LIP'):
        make_hp1m(str(tmp_path), out, only=['LIP'])
    (tmp_path / 'coco/annotations/person_keypoints_train2017.json').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'coco holds no person_keypoints_train2017.json'
    ):
        make_hp1m(str(tmp_path), out, only=['COCO'])


def test_unreadable_label_map_is_listed(tmp_path):
    make_sources(tmp_path)
    put(tmp_path / 'MHPv2/LV-MHP-v2/train/parsing_annos/21_02_01.png', b'not an image')
    counts = make_hp1m(str(tmp_path), str(tmp_path / 'm.tsv'), only=['MHPv2'])
    assert counts[0].found == 1
    assert '21_02_01.png\tlabel map: not an image' in (tmp_path / 'm.rejected.tsv').read_text()


def test_mask_boxes():
    mask = np.zeros((10, 12), np.uint8)
    mask[2, 3] = 1
    mask[4:9, 0:2] = 255
    assert mask_boxes(mask) == [(3, 2, 4, 3), (0, 4, 2, 9)]
    assert mask_boxes(mask > 0) == [(0, 2, 4, 9)]
    assert mask_boxes(np.zeros((4, 4))) == []


def test_luperson_samples_are_nested_seeded_and_uniform(tmp_path):
    for number in range(60):
        put(
            tmp_path / 'lup' / f'{number % 7}' / f'{number}.jpg', encode(pixels(20, 16, number))
        )
    put(tmp_path / 'lup' / 'bad.jpg', b'bad')
    put(tmp_path / 'lup' / 'notes.txt', 'not an image')
    sizes = {'A': 10, 'B': 25, 'C': 100}

    def draw(seed):
        counts = make_luperson(str(tmp_path / 'lup'), str(tmp_path), seed=seed, sizes=sizes)
        sets = [read_manifest(tmp_path / name / MANIFEST_NAME).entries for name in sizes]
        return counts, [{entry.crop.path for entry in entries} for entries in sets]

    counts, sets = draw(0)
    assert [row.written for row in counts] == [10, 25, 60]
    assert sets[0] < sets[1] < sets[2]
    listed = (tmp_path / 'A' / 'saip_manifest.rejected.tsv').read_text().splitlines()
    assert [line.split('\t')[0] for line in listed] == ['bad.jpg', 'notes.txt']
    assert len(count_warnings(counts)) == 1
    assert draw(0)[1] == sets
    assert draw(1)[1][0] != sets[0]
    (tmp_path / 'lup' / sorted(sets[2] - sets[1])[0]).unlink()
    assert draw(0)[1][:2] == sets[:2]
    assert list(LUPERSON_SIZES.values()) == [1_284_228, 2_568_456, 4_180_243]


def test_report_says_differences_in_words():
    rows = [Count('COCO', 149_000, 148_990, 149_813), Count('AIC', 378_352, 378_352, 378_352)]
    table = count_table(rows, total=True).splitlines()
    assert table[1].split() == ['COCO', '149,000', '148,990', '149,813', '-813']
    assert table[3].split() == ['Total', '527,352', '527,342', '528,165', '-813']
    warnings = count_warnings(rows)
    assert '813 fewer than the 149,813 of the paper' in warnings[0]
    assert '10 of 149,000 samples are left out' in warnings[1]
    assert len(warnings) == 2


def run_tool(name, *arguments):
    command = [sys.executable, str(ROOT / 'tools/dataset_converters' / name), *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_tools(tmp_path):
    put(tmp_path / 'in/n01/a.JPEG', IMAGE)
    put(tmp_path / 'in/n02/b.JPEG', IMAGE[:-300])
    done = run_tool('make_manifest.py', str(tmp_path / 'in'), '--workers', '1')
    assert done.returncode == 0, done.stderr
    assert '1 of 2 samples are left out' in done.stdout
    assert len(PersonImages(str(tmp_path / 'in'))) == 1
    done = run_tool('make_in1k.py', str(tmp_path / 'in'), str(tmp_path / 'IN1K'))
    assert f'fewer than the {IMAGENET_COUNT:,} of the paper' in done.stdout
    assert len(PersonImages(str(tmp_path / 'IN1K'))) == 1


@pytest.mark.parametrize(
    ('tool', 'pattern'),
    [
        ('make_manifest.py', 'error: no such folder of images: nowhere'),
        ('make_hp1m.py', 'error: no such folder: nowhere'),
    ],
)
def test_tools_fail_with_one_line(tool, pattern, tmp_path):
    done = run_tool(tool, 'nowhere', str(tmp_path / 'out'))
    assert done.returncode == 2
    assert done.stderr.strip() == f'{tool}: {pattern}'
    assert done.stdout == ''


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
person = st.fixed_dictionaries(
    {'tag': st.sampled_from(['person', 'mask', 3])},
    optional={
        'vbox': values | st.lists(st.integers() | st.floats(), min_size=4, max_size=4),
        'extra': values | st.just({'ignore': 1}),
    },
)
lines = st.fixed_dictionaries(
    {}, optional={'ID': values | st.just('x'), 'gtboxes': values | st.lists(person, max_size=3)}
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines | values, max_size=3), st.text(max_size=5))
def test_odgt_parser_raises_typed_errors_only(rows, tail):
    text = '\n'.join(map(json.dumps, rows)) + tail
    try:
        crops = parse_odgt(text, 'Images', 'x.odgt')
    except DataError as error:
        crops, message = [], str(error)
    else:
        message = 'x.odgt'
    assert message.startswith('x.odgt')
    assert all(isinstance(crop, Crop) and crop.path.startswith('Images/') for crop in crops)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                'image_id': values | st.just('x'),
                'human_annotations': values
                | st.dictionaries(st.text(max_size=2), st.just([1, 2, 30, 40]) | values),
            },
        )
        | values,
        max_size=3,
    )
    | values
)
def test_aic_parser_raises_typed_errors_only(document):
    try:
        crops = parse_aic(document, 'images', 'aic.json')
    except DataError as error:
        crops, message = [], str(error)
    else:
        message = 'aic.json'
    assert message.startswith('aic.json')
    assert all(isinstance(crop, Crop) for crop in crops)


@pytest.mark.skipif(not GENUINE.is_file(), reason=NO_REALDATA)
def test_genuine_crowdhuman_line():
    crops = parse_odgt(GENUINE.read_text(), 'Images', 'sample')
    # Six persons and one ignored region; the first visible box is 1355, 323, 381, 1033.
    assert len(crops) == 6
    assert crops[0] == Crop('Images/283554,35288000868e92d4.jpg', (1355, 323, 1736, 1356))
