"""The file of keypoints, its place in the samples, and the files that are refused."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from saip.datasets.converters.folder import make_manifest
from saip.datasets.crops import Crop, DataError, crop_key
from saip.datasets.keypoints import JOINTS, Keypoints, write_keypoints
from saip.datasets.person_images import PersonImages
from saip.errors import MissingFileError
from tests.test_datasets.image_files import encode, pixels


def joints(number: int) -> np.ndarray:
    """(17, 3), different for every number, exact in half precision."""
    x = np.arange(17) + number
    return np.stack([x, 2 * x, np.full(17, 0.5)], 1)


def write(path, crops, **changes):
    """A good file, or one with something else in it."""
    write_keypoints(path, crops, np.stack([joints(i) for i in range(len(crops))]))
    if changes:
        with np.load(path) as file:
            content = {**file, **changes}
        np.savez(path, **{k: v for k, v in content.items() if v is not None})
    return str(path)


def save_boxes(path, boxes):
    """A COCO file of boxes in one image of 30x40 pixels."""
    document = {
        'images': [{'id': 1, 'file_name': boxes[0].path, 'width': 30, 'height': 40}],
        'categories': [{'id': 1, 'name': 'person'}],
        'annotations': [
            {'id': i, 'image_id': 1, 'category_id': 1, 'bbox': [x0, y0, x1 - x0, y1 - y0]}
            for i, (_, (x0, y0, x1, y1)) in enumerate(boxes)
        ],
    }
    path.write_text(json.dumps(document))


@pytest.fixture
def crops(folder):
    data = PersonImages(str(folder))
    return [data.crop(i) for i in range(len(data))]


def test_joints_are_those_of_coco():
    assert len(JOINTS) == 17
    assert JOINTS[5:9] == ('left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow')
    assert JOINTS[-1] == 'right_ankle'


def test_every_sample_gets_its_own(folder, crops, tmp_path):
    shuffled = [crops[i] for i in (3, 9, 0, 7)]
    path = write(tmp_path / 'k.npz', shuffled)
    data = PersonImages(str(folder), keypoints=path)
    plain = PersonImages(str(folder))
    for index, crop in enumerate(crops):
        sample = data[index]
        assert sample['keypoints'].dtype == torch.float32
        if crop in shuffled:
            assert sample['keypoints'].tolist() == joints(shuffled.index(crop)).tolist()
        else:
            assert sample['keypoints'].shape == (17, 3)
            assert sample['keypoints'].isnan().all()
        rest = {k: v for k, v in sample.items() if k != 'keypoints'}
        assert all(torch.equal(v, plain[index][k]) for k, v in rest.items())
        assert rest.keys() == plain[index].keys()
    batch = default_collate([data[i] for i in range(4)])
    assert batch['keypoints'].shape == (4, 17, 3)


def test_counts_are_said(folder, crops, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'saip.datasets.person_images.print_log', lambda text, *rest: said.append(text)
    )
    path = write(tmp_path / 'k.npz', crops[:7])
    len(PersonImages(str(folder), keypoints=path))
    assert said[-1] == f'keypoints of 7 of these samples from {path}'


def test_held_back_images_have_theirs(folder, crops, tmp_path):
    path = write(tmp_path / 'k.npz', crops)
    for part, count in (('train', 7), ('held_back', 3)):
        data = PersonImages(str(folder), holdout=3, part=part, keypoints=path)
        assert len(data) == count
        for i in range(count):
            wanted = joints(crops.index(data.crop(i)))
            assert data[i]['keypoints'].tolist() == wanted.tolist()


def test_a_part_without_any_is_no_other_folder(folder, crops, tmp_path):
    """Whether the file belongs to the set is a matter of all its images."""
    held = PersonImages(str(folder), holdout=3, part='held_back')
    kept = [c for c in crops if c not in [held.crop(i) for i in range(3)]]
    path = write(tmp_path / 'k.npz', kept)
    data = PersonImages(str(folder), holdout=3, part='held_back', keypoints=path)
    assert data[0]['keypoints'].isnan().all()


def test_a_replacement_brings_its_own(folder, crops, tmp_path):
    path = write(tmp_path / 'k.npz', crops)
    (folder / crops[2].path).write_bytes(b'broken')
    sample = PersonImages(str(folder), keypoints=path)[2]
    assert int(sample['replaced']) == 2
    assert int(sample['index']) == 3
    assert sample['keypoints'].tolist() == joints(3).tolist()


def test_boxes_are_samples_of_their_own(folder, tmp_path):
    name = 'train/0000/000.jpg'
    boxes = [Crop(name, (0, 0, 20, 30)), Crop(name, (5, 0, 25, 30))]
    save_boxes(folder / 'boxes.json', boxes)
    path = write(tmp_path / 'k.npz', boxes)
    data = PersonImages(str(folder), 'boxes.json', keypoints=path)
    assert [data[i]['keypoints'][0, 0] for i in range(2)] == [0, 1]


def test_a_manifest_has_the_keys_of_its_folder(folder, crops, tmp_path):
    make_manifest(str(folder), str(tmp_path / 'm.tsv'))
    path = write(tmp_path / 'k.npz', crops)
    data = PersonImages(str(folder), str(tmp_path / 'm.tsv'), keypoints=path)
    assert not any(data[i]['keypoints'].isnan().any() for i in range(10))


def test_the_same_samples_give_the_same_file(tmp_path):
    crops = [Crop(f'{i}.jpg') for i in range(5)]
    values = np.stack([joints(i) for i in range(5)])
    write_keypoints(tmp_path / 'a.npz', crops, values)
    write_keypoints(tmp_path / 'b.npz', crops[::-1], values[::-1])
    assert (tmp_path / 'a.npz').read_bytes() == (tmp_path / 'b.npz').read_bytes()
    found = Keypoints.read(tmp_path / 'a.npz')
    assert (found.of(crop_key(crops[4])) == values[4]).all()


class TestRefused:
    def test_another_folder(self, folder, tmp_path):
        path = write(tmp_path / 'k.npz', [Crop('mine/a.jpg'), Crop('mine/b.jpg')])
        data = PersonImages(str(folder), keypoints=path, lazy_init=True)
        with pytest.raises(
            DataError, match=r'of 2 samples \(such as mine/a.jpg.*none of the 10'
        ):
            data.full_init()

    def test_no_file(self, folder):
        with pytest.raises(MissingFileError, match=r'no such file of keypoints: none.npz'):
            PersonImages(str(folder), keypoints='none.npz')

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (
                {'keypoints': np.zeros((2, 17, 2), np.float16)},
                r'\(2, 17, 2\), not float16 \(2, 17',
            ),
            ({'keypoints': np.zeros((2, 14, 3), np.float16)}, '17 joints with x, y and score'),
            (
                {'keypoints': np.zeros((3, 17, 3), np.float16)},
                r'\(3, 17, 3\), not float16 \(2, 17',
            ),
            ({'keypoints': np.zeros((2, 17, 3))}, 'float64'),
            ({'keypoints': np.full((2, 17, 3), np.inf, np.float16)}, 'not finite'),
            ({'keys': np.array([5, 5])}, r'twice the same.* keys\[0\] is 5, keys\[1\] 5'),
            (
                {'keys': np.array([6, 5])},
                r'not sorted.* ascending: keys\[0\] is 6, keys\[1\] 5',
            ),
            ({'keys': np.array([5.0, 6.0])}, r'float64 \(2,\), not one int64 per sample'),
            ({'keys': np.array(5)}, r'int64 \(\), not one int64 per sample'),
            ({'keys': np.zeros((0,), np.int64)}, 'keys are empty'),
            ({'version': np.array(2)}, 'version 2, not 1'),
            ({'version': np.array('two')}, "version 'two', not 1"),
            ({'version': np.array('1')}, "version '1', not 1"),
            ({'version': np.array([1, 1])}, r'version \[1, 1\], not 1'),
            ({'keys': None}, 'it has no keys'),
            ({'keypoints': np.array([{}, {}])}, 'it holds Python objects, which are not read'),
        ],
    )
    def test_content(self, tmp_path, changes, message):
        path = write(tmp_path / 'k.npz', [Crop('a.jpg'), Crop('b.jpg')], **changes)
        with pytest.raises(DataError, match=message) as error:
            Keypoints.read(path)
        assert 'allow_pickle' not in str(error.value)

    @pytest.mark.parametrize('content', [b'', b'text', encode(pixels())])
    def test_other_files(self, tmp_path, content):
        (tmp_path / 'k.npz').write_bytes(content)
        with pytest.raises(DataError, match=r'not a file of keypoints .* no \.npz archive'):
            Keypoints.read(tmp_path / 'k.npz')

    def test_an_array_alone(self, tmp_path):
        np.save(tmp_path / 'k.npy', np.zeros((2, 17, 3)))
        with pytest.raises(DataError, match=r'not a file of keypoints .* a single array'):
            Keypoints.read(tmp_path / 'k.npy')

    def test_an_archive_of_other_files(self, tmp_path):
        with zipfile.ZipFile(tmp_path / 'k.npz', 'w') as archive:
            archive.writestr('version', 'text')
        with pytest.raises(DataError, match='version in it is no array'):
            Keypoints.read(tmp_path / 'k.npz')

    def test_a_damaged_file(self, tmp_path):
        content = bytearray(Path(write(tmp_path / 'k.npz', [Crop('a.jpg')])).read_bytes())
        content[content.index(b'NUMPY') + 20] ^= 1
        (tmp_path / 'k.npz').write_bytes(content)
        with pytest.raises(DataError, match='not a file of keypoints'):
            Keypoints.read(tmp_path / 'k.npz')

    def test_a_folder(self, tmp_path):
        with pytest.raises(DataError, match='a folder and not a file of keypoints'):
            Keypoints.read(tmp_path)

    @pytest.mark.parametrize(
        ('crops', 'values', 'message'),
        [
            ([Crop('a')], np.zeros((1, 14, 3)), r'\(1, 14, 3\) for 1 samples'),
            ([], np.zeros((0, 17, 3)), 'one sample at least'),
            ([Crop('a'), Crop('a')], np.zeros((2, 17, 3)), "two entries of one sample.*'a'"),
            ([Crop('a')], np.full((1, 17, 3), np.nan), 'not finite or beyond'),
            ([Crop('a')], np.full((1, 17, 3), 1e5), 'beyond 65504 pixels'),
        ],
    )
    def test_writing(self, tmp_path, crops, values, message):
        with pytest.raises(DataError, match=message):
            write_keypoints(tmp_path / 'k.npz', crops, values)


def shares(count, generator):
    """(N, 17, 3) joints from 0 to 1."""
    return np.concatenate([generator.random((count, 17, 2)), np.ones((count, 17, 1))], 2)


class TestUnits:
    """Joints that cannot be in pixels of their samples, in a file that is otherwise right."""

    def write(self, path, crops, change):
        values = np.stack([joints(i) for i in range(len(crops))])
        write_keypoints(path, crops, change(values))
        return str(path)

    @pytest.mark.parametrize('shift', [(0, 0), (-7, -9), (20, 300)])
    def test_shares_of_the_image(self, tmp_path, crops, shift):
        """Also those from which the corner of a box was taken."""
        values = shares(10, np.random.default_rng(0))
        values[..., :2] += shift
        path = self.write(tmp_path / 'k.npz', crops, lambda _: values)
        with pytest.raises(
            DataError, match=r'of 10 of 10 samples .*keypoints\[0\]: x .*shares'
        ):
            Keypoints.read(path)

    def test_before_the_first_pixel(self, tmp_path, crops):
        path = self.write(tmp_path / 'k.npz', crops, lambda values: values - (5000, 0, 0))
        with pytest.raises(
            DataError, match=r'170 of 170 labeled joints have negative .*: -\d+, '
        ):
            Keypoints.read(path)

    def test_beyond_the_image(self, folder, tmp_path, crops):
        path = self.write(tmp_path / 'k.npz', crops, lambda values: values + (5000, 0, 0))
        text = r'k\.npz: 170 of 170 labeled .*outside .*/000\.jpg: 5000, 0 in 0, 0, 30, 40 '
        with pytest.raises(DataError, match=text):
            PersonImages(str(folder), keypoints=path)

    def test_beyond_the_box(self, folder, tmp_path):
        """The size of a box is known without its image."""
        boxes = [Crop('train/0000/000.jpg', (i, 0, i + 8, 10)) for i in range(4)]
        save_boxes(folder / 'boxes.json', boxes)
        path = self.write(tmp_path / 'k.npz', boxes, lambda values: values)
        with pytest.raises(
            DataError, match=r'of 68 labeled joints lie outside .* in 0, 0, 8, 10 '
        ):
            PersonImages(str(folder), 'boxes.json', keypoints=path)

    @pytest.mark.parametrize('wrong', [4, 6])
    def test_most_of_them_decide(self, folder, tmp_path, crops, wrong):
        def change(values):
            values[:wrong, :, 0] += 5000
            return values

        path = self.write(tmp_path / 'k.npz', crops, change)
        if wrong < 5:
            PersonImages(str(folder), keypoints=path)
        else:
            with pytest.raises(DataError, match='lie outside'):
                PersonImages(str(folder), keypoints=path)

    def test_joints_that_are_not_labeled_lie_anywhere(self, folder, tmp_path, crops):
        def change(values):
            values[:, 5:] = (-900, 900, 0)
            return values

        path = self.write(tmp_path / 'k.npz', crops, change)
        PersonImages(str(folder), keypoints=path)

    def test_single_joints_have_no_spread(self, folder, tmp_path, crops):
        def change(values):
            values[:, 1:, 2] = 0
            return values

        path = self.write(tmp_path / 'k.npz', crops, change)
        PersonImages(str(folder), keypoints=path)

    def test_of_a_large_file_a_part_is_looked_at(self, tmp_path, crops, monkeypatch):
        monkeypatch.setattr('saip.datasets.keypoints.SAMPLES_CHECKED', 5)
        path = self.write(tmp_path / 'k.npz', crops, lambda values: values - (5000, 0, 0))
        with pytest.raises(DataError, match=r'85 of 85 labeled joints'):
            Keypoints.read(path)

    def test_images_that_cannot_be_read_are_left_out(self, folder, tmp_path, crops):
        for crop in crops:
            (folder / crop.path).write_bytes(b'broken')
        path = self.write(tmp_path / 'k.npz', crops, lambda values: values)
        PersonImages(str(folder), keypoints=path)
