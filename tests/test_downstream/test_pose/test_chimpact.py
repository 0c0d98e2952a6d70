"""ChimpACT: what its file lacks is counted, what was not annotated left out."""

import json
import shutil

import numpy as np
import pytest

from saip.datasets.crops import DataError
from saip.downstream.pose import ChimpACT

# Of the published code of the set, in its order.
NAMES = [
    'pelvis',
    'right_knee',
    'right_ankle',
    'left_knee',
    'left_ankle',
    'neck',
    'upper_lip',
    'lower_lip',
    'right_eye',
    'left_eye',
    'right_shoulder',
    'right_elbow',
    'right_wrist',
    'left_shoulder',
    'left_elbow',
    'left_wrist',
]
SIGMAS = [26, 83, 89, 83, 89, 26, 26, 26, 26, 26, 179, 72, 62, 179, 72, 62]  # thousandths


def chimpanzees(root, split='test', **options):
    return ChimpACT(
        data_root=str(root),
        ann_file=f'annotations/{split}.json',
        data_prefix=dict(img=f'{split}/images/'),
        pipeline=[],
        test_mode=split != 'train',
        **options,
    )


@pytest.fixture
def copy(drawn, tmp_path):
    """A copy to be damaged."""
    shutil.copytree(drawn / 'ChimpACT', tmp_path / 'ChimpACT')
    return tmp_path / 'ChimpACT'


def edit(root, change):
    file = root / 'annotations/test.json'
    document = json.loads(file.read_text())
    change(document['annotations'])
    file.write_text(json.dumps(document))


def test_landmarks_pairs_and_deviations():
    info = ChimpACT._load_metainfo()
    assert list(info['keypoint_name2id']) == NAMES
    assert info['sigmas'] == pytest.approx([value / 1000 for value in SIGMAS])
    for number, other in enumerate(info['flip_indices']):
        name = NAMES[number]
        swapped = {'r': name.replace('right_', 'left_'), 'l': name.replace('left_', 'right_')}
        expected = swapped[name[0]] if name.startswith(('right', 'left_')) else name
        assert NAMES[other] == expected
    # A tree over all landmarks: no bone twice, every landmark reached.
    links = [set(link) for link in info['skeleton_links']]
    assert len(links) == 15
    reached = {0}
    while more := {i for link in links if link & reached for i in link} - reached:
        reached |= more
    assert reached == set(range(16))
    assert {NAMES[i] for i in info['lower_body_ids']} == set(NAMES[:5])


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_annotated_chimpanzees_of_key_frames_alone(drawn, split):
    document = json.loads((drawn / f'ChimpACT/annotations/{split}.json').read_text())
    frames = {image['id']: image for image in document['images']}
    wanted = [
        row
        for row in document['annotations']
        if frames[row['image_id']]['frame_id'] % 10 == 0 and row['keypoints']
    ]
    found = chimpanzees(drawn / 'ChimpACT', split)
    records = [found.get_data_info(index) for index in range(len(found))]
    assert [record['id'] for record in records] == [row['id'] for row in wanted]
    assert 0 < len(wanted) < len(document['annotations']) / 2
    for record, row in zip(records, wanted, strict=True):
        flags = np.array(row['keypoints'])[2::3]
        assert record['num_keypoints'] == np.count_nonzero(flags)
        assert record['area'] == pytest.approx(row['area'])
        assert record['img_path'].endswith(
            f'{split}/images/{frames[row["image_id"]]["file_name"]}'
        )


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (lambda row: row.pop('iskeyframe'), 'has iskeyframe None: 1 where its frame was'),
        (lambda row: row.update(iskeyframe=3), 'has iskeyframe 3: 1 where its frame was'),
        (lambda row: row.pop('keypoints'), 'has no keypoints, an empty list where'),
        (lambda row: row['keypoints'].pop(), 'keypoints has 47 values, but 16 points'),
        (lambda row: row.update(keypoints=['a'] * 48), 'something else than finite numbers'),
        (lambda row: row.update(num_keypoints=0), 'has num_keypoints 0, but'),
        (lambda row: row.pop('area'), 'has no area'),
    ],
)
def test_a_damaged_annotation_is_named(copy, change, error):
    edit(copy, lambda rows: change(rows[0]))
    with pytest.raises(DataError, match=rf'{error}.*ChimpACT is a folder') as caught:
        chimpanzees(copy)
    assert str(copy / 'annotations/test.json') in str(caught.value)


def test_a_stated_number_of_landmarks_is_no_obstacle(copy):
    def state(rows):
        for row in rows:
            row['num_keypoints'] = sum(flag > 0 for flag in row['keypoints'][2::3])

    before = len(chimpanzees(copy))
    edit(copy, state)
    assert len(chimpanzees(copy)) == before


def test_a_file_without_key_frames_is_refused(copy):
    edit(copy, lambda rows: [row.update(iskeyframe=0) for row in rows])
    with pytest.raises(
        DataError, match=r'no image in it has an annotated person \(or animal\)'
    ):
        chimpanzees(copy)
