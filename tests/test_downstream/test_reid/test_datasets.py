"""Market-1501 and MSMT17: what is read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saip.datasets.crops import DataError
from saip.downstream.reid import MSMT17, Market1501, ReIDMetric
from saip.synthetic import SIZES, write_market1501
from tests.test_downstream.test_reid.reid_files import write_market, write_msmt17
from tests.tiny import NO_REALDATA, REALDATA

REAL = REALDATA / 'native/market1501_layout'
real = pytest.mark.skipif(not REAL.is_dir(), reason=NO_REALDATA)


def rows(data) -> list[tuple]:
    keys = ('gt_label', 'pid', 'camid', 'is_query')
    return [tuple(data.get_data_info(i)[key] for key in keys) for i in range(len(data))]


def test_market1501(tmp_path):
    root = str(write_market(tmp_path))
    train = Market1501(root, 'train')
    # Sorted by name; junk and Thumbs.db are not read; 2 and 7 become 0 and 1.
    assert rows(train) == [(0, 2, 1, 0), (0, 2, 3, 0), (1, 7, 2, 0)]
    assert train.metainfo['classes'] == ('2', '7')
    assert train.get_gt_labels().tolist() == [0, 0, 1]
    assert rows(Market1501(root, 'test')) == [
        (1, 1, 1, 1),
        (3, 3, 2, 1),
        (0, 0, 1, 0),
        (1, 1, 1, 0),
        (1, 1, 2, 0),
        (3, 3, 1, 0),
    ]


@pytest.mark.parametrize('folders', [('train', 'test'), ('mask_train_v2', 'mask_test_v2')])
def test_msmt17(tmp_path, folders):
    root = str(write_msmt17(tmp_path, folders))
    options = dict(train_folder=folders[0], test_folder=folders[1])
    train = MSMT17(root, 'train', **options)
    assert rows(train) == [(0, 0, 1, 0), (1, 3, 15, 0), (0, 0, 5, 0)]
    expected = f'{root}/{folders[0]}/0003/0003_002_15_0113noon_0020_1.jpg'
    assert train.get_data_info(1)['img_path'] == expected
    # Identity 0 is a person here.
    assert rows(MSMT17(root, 'test', **options)) == [
        (0, 0, 2, 1),
        (1, 1, 11, 1),
        (0, 0, 2, 0),
        (0, 0, 3, 0),
        (1, 1, 12, 0),
    ]


def test_drawn_people_are_market1501(tmp_path):
    write_market1501(tmp_path / 'people', SIZES['tiny'])
    root = str(tmp_path / 'people')
    train = Market1501(root, 'train')
    assert (len(train), len(train.metainfo['classes'])) == (18, 6)
    # 4 identities x 3 cameras as query and as gallery, and two distractors.
    assert len(Market1501(root, 'test')) == 26


def rename(root: Path, old: str, new: str) -> None:
    (root / new).parent.mkdir(exist_ok=True)
    (root / old).rename(root / new)


LAYOUT = r'bounding_box_train/ \(for training\), query/ and bounding_box_test/'


@pytest.mark.parametrize(
    ('old', 'new', 'split', 'error', 'message'),
    [
        ('bounding_box_train', 'training', 'train', FileNotFoundError, LAYOUT),
        ('query', 'queries', 'test', FileNotFoundError, f'no folder .*query: .*{LAYOUT}'),
        ('bounding_box_test', 'gallery', 'test', FileNotFoundError, LAYOUT),
        (
            'bounding_box_train/0007_c2s3_000451_01.jpg',
            'bounding_box_train/0007_2.jpg',
            'train',
            DataError,
            r'0007_2\.jpg: expected a name like IDENTITY_cCAMERA',
        ),
        (
            'bounding_box_train/0007_c2s3_000451_01.jpg',
            'bounding_box_train/0000_c2s3_000451_01.jpg',
            'train',
            DataError,
            r'0000_c2s3_000451_01\.jpg: identity 0 marks distractors',
        ),
        (
            'bounding_box_test/0003_c1s1_000051_00.jpg',
            'bounding_box_test/0003_c2s1_000076_00.jpg',
            'test',
            DataError,
            r'query/0003_c2s1_000051_00\.jpg: the gallery shows identity 3 under no camera but '
            r'2.*by another camera; skip_unanswerable=True',
        ),
    ],
)
def test_market1501_names_what_is_wrong(tmp_path, old, new, split, error, message):
    root = write_market(tmp_path)
    rename(root, old, new)
    with pytest.raises(error, match=message):
        Market1501(str(root), split)


def test_queries_that_cannot_be_answered_may_be_left_out(tmp_path):
    root = write_market(tmp_path)
    name = 'bounding_box_test/0003_c1s1_000051_00.jpg'
    rename(root, name, 'bounding_box_test/0003_c2s1_000076_00.jpg')
    data = Market1501(str(root), 'test', skip_unanswerable=True)
    assert [row[1] for row in rows(data) if row[3]] == [1]


def test_msmt17_names_what_is_wrong(tmp_path):
    root = write_msmt17(tmp_path)
    with pytest.raises(ValueError, match="split='val': choose one of train, test"):
        MSMT17(str(root), 'val')
    rename(root, 'train', 'mask_train_v2')
    with pytest.raises(FileNotFoundError, match=r'no folder .*/train: .*mask_train_v2'):
        MSMT17(str(root), 'train')
    rename(root, 'mask_train_v2', 'train')
    (root / 'list_val.txt').write_text('0000/0000_000_01_morning.jpg 0\n0000/0000.jpg 0\n')
    with pytest.raises(DataError, match=r"list_val\.txt:2: '0000/0000.jpg 0' is not PATH IDEN"):
        MSMT17(str(root), 'train')
    (root / 'list_val.txt').write_text('0000/0000_000_01_morning.jpg 0\n')
    with pytest.raises(
        FileNotFoundError, match=r'0000_000_01_morning\.jpg: no such file.*list_val.*MSMT17'
    ):
        MSMT17(str(root), 'train')
    (root / 'list_val.txt').write_text('')
    with pytest.raises(DataError, match=r'list_val\.txt is empty'):
        MSMT17(str(root), 'train')
    (root / 'list_val.txt').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'no list .*list_val\.txt: MSMT17 has list_train'
    ):
        MSMT17(str(root), 'train')


@real
def test_real_images_in_market_layout():
    train = Market1501(str(REAL), 'train')
    assert len(train) == len(list((REAL / 'bounding_box_train').glob('*.jpg')))
    with pytest.raises(DataError, match='nor can 1 more'):
        Market1501(str(REAL), 'test')
    test = Market1501(str(REAL), 'test', skip_unanswerable=True)
    queries = sum(row[3] for row in rows(test))
    # Both queries of identity 1 come from camera 4, the only one that shows it in the gallery.
    assert queries == len(list((REAL / 'query').glob('*.jpg'))) - 2


def score(features: torch.Tensor, records: list[dict]) -> dict[str, float]:
    metric = ReIDMetric()
    pairs = zip(features, records, strict=True)
    metric.process(None, [{**record, 'feature': feature} for feature, record in pairs])
    return metric.evaluate(len(records))


@real
def test_real_images_are_found_by_features_of_their_identity_alone():
    data = Market1501(str(REAL), 'test', skip_unanswerable=True)
    records = [data.get_data_info(i) for i in range(len(data))]
    pids, person = np.unique([record['pid'] for record in records], return_inverse=True)
    right = torch.eye(len(pids))[torch.from_numpy(person)]
    found = score(right, records)
    assert found['reid/queries'] == sum(record['is_query'] for record in records) > 0
    assert (found['reid/mAP'], found['reid/Rank-1']) == (100, 100)
    # Every query looks like the next person.
    is_query = torch.tensor([record['is_query'] for record in records], dtype=torch.bool)
    wrong = torch.where(is_query[:, None], right.roll(1, dims=1), right)
    found = score(wrong, records)
    assert found['reid/Rank-1'] == 0
    assert found['reid/mAP'] < 50
