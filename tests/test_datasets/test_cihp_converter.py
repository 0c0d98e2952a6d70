"""The published tree becomes the one that is read."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saip.datasets.converters import cihp
from saip.datasets.converters.cihp import convert_cihp
from saip.datasets.crops import DataError
from saip.errors import InputError, MissingFileError
from saip.synthetic.formats import write_cihp, write_cihp_raw
from tests.tiny import ROOT


@pytest.fixture(scope='module')
def generated(tmp_path_factory) -> tuple[Path, Path]:
    """The same scenes in both published trees."""
    folder = tmp_path_factory.mktemp('people')
    write_cihp(folder / 'CIHP')
    write_cihp_raw(folder / 'raw')
    return folder / 'CIHP', folder / 'raw'


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def people(root: Path, split: str) -> list[tuple]:
    content = json.loads((root / f'annotations/CIHP_{split}.json').read_text())
    names = {image['id']: image for image in content['images']}
    return [
        (
            names[row['image_id']]['file_name'],
            names[row['image_id']]['width'],
            row['bbox'],
            row['area'],
            row['parsing'],
        )
        for row in content['annotations']
    ]


def test_both_published_trees_say_the_same(generated, tmp_path):
    parsed, source = generated
    counts = convert_cihp(source, tmp_path / 'CIHP')
    for split in ('train', 'val'):
        expected = people(parsed, split)
        assert people(tmp_path / 'CIHP', split) == expected
        assert counts[split] == (len({row[0] for row in expected}), len(expected))
        for kind in ('img', 'parsing', 'seg'):
            places = sorted((parsed / f'{split}_{kind}').iterdir())
            written = sorted((tmp_path / f'CIHP/{split}_{kind}').iterdir())
            assert [path.name for path in written] == [path.name for path in places]
            for one, other in zip(places, written, strict=True):
                assert np.array_equal(pixels(one), pixels(other))
    # Numbers of people have gaps.
    numbers = [
        int(row[4].split('-')[1].removesuffix('.png')) for row in people(parsed, 'train')
    ]
    assert max(numbers) > 5 > min(numbers)
    assert json.loads((tmp_path / 'CIHP/people.json').read_text())['format'] == 'cihp_raw'


def small(root: Path) -> Path:
    """One image of 4 x 3 pixels in each split: people 2 and 200, labels of nobody, and 9 unseen."""
    labels = np.array([[5, 5, 0, 9], [5, 0, 0, 9], [13, 0, 0, 7]], np.uint8)
    humans = np.array([[2, 2, 9, 200], [2, 9, 0, 200], [2, 2, 0, 0]], np.uint8)
    for folder, split in (('Training', 'train'), ('Validation', 'val')):
        for kind in ('Images', 'Category_ids', 'Human_ids'):
            (root / folder / kind).mkdir(parents=True)
        Image.fromarray(labels).convert('RGB').save(root / folder / 'Images/a.jpg')
        Image.fromarray(labels).save(root / folder / 'Category_ids/a.png')
        Image.fromarray(humans).save(root / folder / 'Human_ids/a.png')
        (root / folder / f'{split}_id.txt').write_text('a\n')
    return root


def test_ids_with_gaps_by_hand(tmp_path):
    convert_cihp(small(tmp_path / 'raw'), tmp_path / 'CIHP')
    assert people(tmp_path / 'CIHP', 'train') == [
        ('a.jpg', 4, [0, 0, 2, 3], 4, 'a-2.png'),
        ('a.jpg', 4, [3, 0, 1, 2], 2, 'a-200.png'),
    ]
    first = pixels(tmp_path / 'CIHP/train_parsing/a-2.png')
    assert first.tolist() == [[5, 5, 0, 0], [5, 0, 0, 0], [13, 0, 0, 0]]
    # Labels of nobody stay in the map of the image.
    assert pixels(tmp_path / 'CIHP/train_seg/a.png')[2, 3] == 7


def test_again_and_on_another_disk(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, 'Invalid cross-device link')

    source = small(tmp_path / 'raw')
    monkeypatch.setattr(cihp.os, 'link', refuse)
    for _ in range(2):
        convert_cihp(source, tmp_path / 'CIHP')
    picture = tmp_path / 'CIHP/train_img/a.jpg'
    assert picture.read_bytes() == (source / 'Training/Images/a.jpg').read_bytes()
    assert picture.stat().st_nlink == 1


def test_without_the_last_file_there_are_no_annotations(tmp_path):
    source = small(tmp_path / 'raw')
    Image.fromarray(np.full((3, 4), 33, np.uint8)).save(
        source / 'Validation/Category_ids/a.png'
    )
    with pytest.raises(DataError, match=r'Validation/Category_ids/a\.png: label 33, 0 to 19'):
        convert_cihp(source, tmp_path / 'CIHP')
    assert not (tmp_path / 'CIHP/annotations/CIHP_val.json').exists()


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('Validation/val_id.txt', r'val_id\.txt: no such file'),
        ('Training/Images/a.jpg', r'Images/a\.jpg: no such file'),
        ('Training/Human_ids/a.png', r'Human_ids/a\.png: no such file'),
    ],
)
def test_a_missing_file_is_named_before_anything_is_written(tmp_path, name, message):
    source = small(tmp_path / 'raw')
    (source / name).unlink()
    with pytest.raises(MissingFileError, match=message) as caught:
        convert_cihp(source, tmp_path / 'CIHP')
    assert 'with Training/ and Validation/' in str(caught.value)
    assert not (tmp_path / 'CIHP').exists()


def test_an_empty_list_and_a_map_of_another_size_are_refused(tmp_path):
    source = small(tmp_path / 'raw')
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(source / 'Training/Human_ids/a.png')
    with pytest.raises(DataError, match=r'Human_ids/a\.png: 3 x 4 pixels, but .* has 4 x 3'):
        convert_cihp(source, tmp_path / 'CIHP')
    (source / 'Training/train_id.txt').write_text('\n')
    with pytest.raises(DataError, match=r'train_id\.txt: names no image'):
        convert_cihp(source, tmp_path / 'CIHP')
    with pytest.raises(InputError, match='not a folder of its own'):
        convert_cihp(source, source)


@pytest.mark.slow
def test_the_tool(generated, tmp_path):
    tool = [sys.executable, str(ROOT / 'tools/dataset_converters/make_cihp.py')]
    out = tmp_path / 'CIHP'
    done = subprocess.run(
        [*tool, generated[1], out, '--workers', '2'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f'{out}: train 8 images, 30 people; val 6 images, 22 people' in done.stdout
    assert 'val images of CIHP: 6/6 (100 %)' in done.stderr
    done = subprocess.run(
        [*tool, out, tmp_path / 'b'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'make_cihp.py: error: ' in done.stderr
    assert 'Traceback' not in done.stderr
