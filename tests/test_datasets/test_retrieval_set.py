"""Retrieval sets in Market-1501 layout: names, junk, distractors, samples, errors."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from saip.datasets import retrieval
from saip.datasets.crops import DataError
from saip.datasets.retrieval import RetrievalImages, parse_name
from saip.registry import DATASETS
from saip.synthetic import SIZES, write_market1501
from tests.tiny import NO_REALDATA, REALDATA

REAL = REALDATA / 'native/market1501_layout'


def make_set(root: Path, query: list[str], gallery: list[str]) -> str:
    for number, (folder, names) in enumerate(
        (('query', query), ('bounding_box_test', gallery))
    ):
        (root / folder).mkdir()
        for name in names:
            cv2.imwrite(str(root / folder / name), np.full((40, 20, 3), 50 + number, np.uint8))
    return str(root)


QUERY = ['0001_c1s1_000051_00.jpg', '0002_c2s1_000051_00.jpg']
GALLERY = [
    '-1_c1s1_000051_00.jpg',
    '0000_c1s1_000051_01.jpg',
    '0001_c1s1_000076_00.jpg',
    '0001_c2s3_000051_00.jpg',
    '0002_c1s1_000051_00.jpg',
]


def test_queries_come_first_and_junk_is_not_read(tmp_path):
    root = make_set(tmp_path, QUERY, GALLERY)
    (tmp_path / 'query' / 'Thumbs.db').write_bytes(b'no image')
    data = RetrievalImages(root, size=(32, 16))
    found = [(r['pid'].item(), r['camid'].item(), r['is_query'].item()) for r in data]
    assert found == [(1, 1, 1), (2, 2, 1), (0, 1, 0), (1, 1, 0), (1, 2, 0), (2, 1, 0)]
    assert [sample['index'].item() for sample in data] == list(range(6))
    assert data.metainfo['num_query'] == 2


def test_samples_can_be_batched_and_are_built_from_a_config(tmp_path):
    root = make_set(tmp_path, QUERY, GALLERY)
    data = DATASETS.build(dict(type='saip.RetrievalImages', data_root=root, size=(32, 16)))
    batch = default_collate([data[0], data[2]])
    assert batch['image'].shape == (2, 3, 32, 16)
    assert batch['image'].dtype == torch.uint8
    for name in ('pid', 'camid', 'is_query', 'index'):
        assert batch[name].dtype == torch.int64
        assert batch[name].shape == (2,)


def test_images_are_rgb_and_resized_without_aliasing(tmp_path):
    root = make_set(tmp_path, QUERY, GALLERY)
    # One-pixel stripes of white and black reduce to gray; a red border tells channels apart.
    stripes = np.zeros((80, 64, 3), np.uint8)
    stripes[::2] = 255
    stripes[:, 32:] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / 'query' / '0001_c1s1_000051_00.png'), stripes)
    (tmp_path / 'query' / QUERY[0]).unlink()
    image = RetrievalImages(root, size=(20, 16))[0]['image'].float()
    assert image[:, :, 12:].mean((1, 2)).tolist() == pytest.approx([255, 0, 0], abs=1)
    assert (image[:, 2:-2, :6] - 127.5).abs().max() < 8


def test_unanswerable_queries_are_left_out_with_a_warning(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(retrieval, 'print_log', lambda text, **_: messages.append(text))
    # Identity 3 is only seen by the query's own camera, identity 4 not at all.
    lonely = ['0003_c3s1_000051_00.jpg', '0004_c1s1_000051_00.jpg']
    root = make_set(tmp_path, QUERY + lonely, [*GALLERY, '0003_c3s1_000076_00.jpg'])
    data = RetrievalImages(root)
    assert data.metainfo['num_query'] == 2
    assert {record['pid'].item() for record in data} == {0, 1, 2, 3}
    assert len(messages) == 1
    assert '2 of 4 queries' in messages[0]
    assert all(name in messages[0] for name in lonely)


def test_a_set_without_any_answerable_query_is_refused(tmp_path):
    root = make_set(tmp_path, QUERY[:1], GALLERY[2:3])
    with pytest.raises(DataError, match=r'no query .*0001_c1s1_000051_00\.jpg'):
        RetrievalImages(root)


@pytest.mark.parametrize(
    ('query', 'gallery', 'error', 'message'),
    [
        ([*QUERY, 'person.jpg'], GALLERY, DataError, r'person\.jpg: expected a name like'),
        (QUERY, [*GALLERY, '0001_c2.jpg'], DataError, r'0001_c2\.jpg: expected a name like'),
        ([*QUERY, '0000_c1s1_000001_00.jpg'], GALLERY, DataError, 'identity from 1 on'),
        (QUERY, GALLERY[:1], FileNotFoundError, 'bounding_box_test holds no image'),
    ],
)
def test_wrong_files_are_named(tmp_path, query, gallery, error, message):
    root = make_set(tmp_path, query, gallery)
    with pytest.raises(error, match=message):
        RetrievalImages(root)


def test_a_missing_folder_and_a_broken_image_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='query/ and bounding_box_test/'):
        RetrievalImages(str(tmp_path))
    with pytest.raises(ValueError, match='size must be'):
        RetrievalImages(str(tmp_path), size=(256,))
    root = make_set(tmp_path, QUERY, GALLERY)
    for broken in (tmp_path / 'query' / QUERY[0], tmp_path / 'bounding_box_test' / GALLERY[2]):
        broken.write_text('text')
    with pytest.raises(DataError, match=rf'2 of the \d+ images .*{QUERY[0]} .*{GALLERY[2]}'):
        RetrievalImages(root)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('0002_c1s1_000451_03.jpg', (2, 1)),
        ('-1_c6s4_002452_01.jpg', (-1, 6)),
        ('0002_c4s1_000012.jpg', (2, 4)),
        ('12345_c12s1_000001_00.JPG', (12345, 12)),
    ],
)
def test_names(name, expected):
    assert parse_name(name) == expected


def test_drawn_people_are_a_complete_set(tmp_path):
    write_market1501(tmp_path / 'people', SIZES['tiny'])
    data = RetrievalImages(str(tmp_path / 'people'), size=(128, 64))
    # 4 identities x 3 cameras as query and as gallery, and two distractors.
    assert data.metainfo['num_query'] == 12
    assert len(data) == 26
    assert data[0]['image'].shape == (3, 128, 64)


@pytest.mark.skipif(not REAL.is_dir(), reason=NO_REALDATA)
def test_real_images_in_market_layout():
    data = RetrievalImages(str(REAL))
    # Both queries of identity 1 come from camera 4, the only one that shows it in the gallery.
    assert data.metainfo['num_query'] == len(list((REAL / 'query').glob('*.jpg'))) - 2
    sample = data[len(data) - 1]
    assert sample['image'].shape == (3, 256, 128)
    assert sample['is_query'].item() == 0
