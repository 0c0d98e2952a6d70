"""Keypoint files from annotations, from HAP's files, and of synthetic persons."""

import codecs
import json
import math
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from saip.datasets import keypoint_places
from saip.datasets.converters import keypoints
from saip.datasets.converters.folder import make_manifest
from saip.datasets.converters.hap_keypoints import from_hap
from saip.datasets.converters.keypoints import AIC_IN_COCO, from_annotations
from saip.datasets.converters.plain_pickle import RefusedError, read_object_array, read_plain
from saip.datasets.crops import Crop, DataError, crop_key
from saip.datasets.keypoints import JOINTS, Keypoints
from saip.datasets.person_images import PersonImages
from saip.errors import MissingFileError
from saip.synthetic import SIZES, list_images, plan_crop, render_crop, write_market1501
from saip.synthetic.keypoints import image_keypoints
from saip.synthetic.rendered_crop import Occluder
from tests.test_datasets.image_files import encode, pixels
from tests.tools import call_tool

TOOL = 'dataset_converters/make_keypoints.py'

AIC_NAMES = [
    f'{side}_{joint}'
    for group in (('shoulder', 'elbow', 'wrist'), ('hip', 'knee', 'ankle'))
    for side in ('right', 'left')
    for joint in group
] + ['crown', 'neck']
"""Joints of AIC in the order of its paper (Wu et al., 2017)."""


@pytest.fixture
def warned(monkeypatch):
    said = []
    monkeypatch.setattr(keypoints, 'print_log', lambda text, *_: said.append(text))
    return said


def coco(rows, size=(30, 40), name='train/0000/000.jpg'):
    image = {'id': 1, 'file_name': name}
    if size:
        image |= {'width': size[0], 'height': size[1]}
    rows = [{'id': i, 'image_id': 1, 'category_id': 1, **row} for i, row in enumerate(rows)]
    return {
        'images': [image],
        'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'dog'}],
        'annotations': rows,
    }


def person(box, visibility=2, count=17, **more):
    """Joints on a diagonal from (2, 3)."""
    flat = [value for i in range(count) for value in (2 + i, 3 + i, visibility)]
    return {'bbox': box, 'keypoints': flat, **more}


def save(path, document):
    path.write_text(json.dumps(document))
    return path


class TestCoco:
    def test_one_sample_per_box(self, folder, tmp_path):
        rows = [
            person([2, 3, 20, 30]),
            person([4, 5, 20, 30], visibility=1),
            person([0, 0, 30, 40], iscrowd=1),
            person([0, 0, 9, 9], category_id=2),
            person([1, 1, 9, 9], visibility=0),
        ]
        source = save(folder / 'boxes.json', coco(rows))
        done = from_annotations(source, tmp_path / 'k.npz')
        assert done == (2, 1)
        data = PersonImages(str(folder), 'boxes.json', keypoints=str(tmp_path / 'k.npz'))
        found = {data.crop(i).box: data[i]['keypoints'] for i in range(len(data))}
        assert len(found) == 3
        diagonal = np.arange(17)
        for (x0, y0), score in (((2, 3), 1.0), ((4, 5), 0.5)):
            (joints,) = (x for box, x in found.items() if box[:2] == (x0, y0))
            wanted = np.stack([2 + diagonal - x0, 3 + diagonal - y0, np.full(17, score)], 1)
            assert (joints.numpy() == wanted).all()
        assert found[1, 1, 10, 10].isnan().all()

    def test_joints_lie_on_the_same_pixels_of_the_crop(self, tmp_path):
        """A bright pixel at a joint of the image is bright in the sample, at the sample's joint."""
        image = np.zeros((60, 50, 3), np.uint8)
        image[31, 22] = 255
        (tmp_path / 'a.png').write_bytes(encode(image, 'PNG'))
        row = person([10.4, 5.2, 30, 50])
        row['keypoints'][27:30] = [22, 31, 2]
        save(tmp_path / 'boxes.json', coco([row], (50, 60), 'a.png'))
        from_annotations(tmp_path / 'boxes.json', tmp_path / 'k.npz')
        data = PersonImages(
            str(tmp_path), 'boxes.json', canvas=(51, 31), keypoints=str(tmp_path / 'k.npz')
        )
        sample = data[0]
        assert tuple(sample['size'].tolist()) == (51, 31)
        x, y, _ = sample['keypoints'][9].int().tolist()
        assert sample['canvas'][:, y, x].tolist() == [255] * 3

    def test_boxes_of_unknown_images_are_clipped_by_their_sizes(self, tmp_path):
        source = save(tmp_path / 'a.json', coco([person([-5, 2, 200, 20])], size=None))
        from_annotations(source, tmp_path / 'k.npz', 'coco/train/', lambda path: (30, 40))
        crop = Crop('coco/train/train/0000/000.jpg', (0, 2, 30, 22))
        assert Keypoints.read(tmp_path / 'k.npz').keys.tolist() == [crop_key(crop)]

    def test_the_tool_reads_sizes_that_are_not_stated(
        self, folder, tmp_path, monkeypatch, capsys
    ):
        """The keys are those of a manifest, whose boxes are clipped to the images."""
        source = save(folder / 'boxes.json', coco([person([-5, 2, 200, 20])], size=None))
        make_manifest(str(folder), str(tmp_path / 'm.tsv'), 'boxes.json')
        out = tmp_path / 'k.npz'
        assert not call_tool(monkeypatch, TOOL, 'annotations', source, out, '--images', folder)
        assert 'keypoints of 1 samples, all that there are' in capsys.readouterr().out
        data = PersonImages(str(folder), str(tmp_path / 'm.tsv'), keypoints=str(out))
        assert data.crop(0).box == (0, 2, 30, 22)
        assert not data[0]['keypoints'].isnan().any()

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (('--images', 'nofolder'), '--images nofolder: no such folder'),
            (
                ('--images', '{folder}', '--prefix', 'coco'),
                '--images: 1 of 1 images whose sizes {source} does not state cannot be read there, '
                'the first coco/train/0000/000.jpg',
            ),
        ],
    )
    def test_a_wrong_folder_of_images_is_refused(
        self, folder, tmp_path, monkeypatch, capsys, options, message
    ):
        """Boxes beyond their images would get keys that no sample has."""
        source = save(folder / 'boxes.json', coco([person([-5, 2, 200, 20])], size=None))
        options = [text.format(folder=folder) for text in options]
        arguments = ('annotations', source, tmp_path / 'k.npz', *options)
        assert call_tool(monkeypatch, TOOL, *arguments) == 2
        said = capsys.readouterr().err
        assert message.format(source=source) in said
        assert len(said.splitlines()) == 1
        assert not (tmp_path / 'k.npz').exists()

    def test_unknown_sizes_are_said(self, tmp_path, warned):
        source = save(tmp_path / 'a.json', coco([person([0, 2, 30, 20])], size=None))
        from_annotations(source, tmp_path / 'k.npz')
        assert len(warned) == 1
        assert 'a.json: does not state the sizes of 1 images' in warned[0]
        assert '--images names the folder' in warned[0]
        from_annotations(source, tmp_path / 'k.npz', size_of=lambda path: (30, 40))
        from_annotations(save(source, coco([person([0, 2, 30, 20])])), tmp_path / 'k.npz')
        assert len(warned) == 1

    def test_single_images_that_cannot_be_read_are_counted(self, tmp_path, warned):
        rows = [
            person([0, 2, 30, 20]),
            person([1, 2, 30, 20]),
            person([0, 2, 30, 20], image_id=2),
        ]
        document = coco(rows, size=None)
        document['images'].append({'id': 2, 'file_name': 'b.jpg'})
        asked = []

        def size_of(path):
            asked.append(path)
            return None if path == 'b.jpg' else (30, 40)

        source = save(tmp_path / 'a.json', document)
        assert from_annotations(source, tmp_path / 'k.npz', size_of=size_of) == (3, 0)
        assert warned[0].startswith('--images: 1 of 2 images cannot be read, the first b.jpg')
        assert sorted(asked) == ['b.jpg', 'train/0000/000.jpg']

    @pytest.mark.parametrize(
        ('source', 'out', 'message'),
        [
            ('none.json', 'k.npz', 'none.json: no such annotation file'),
            ('', 'k.npz', 'a folder and no annotation file'),
            ('a.json', '', 'the file to write, but there is a folder of this name'),
            ('a.json', 'a.json/sub/k.npz', 'a.json is no folder'),
        ],
    )
    def test_places_are_one_line(self, tmp_path, monkeypatch, capsys, source, out, message):
        save(tmp_path / 'a.json', coco([person([0, 0, 30, 40])]))
        arguments = ('annotations', tmp_path / source, tmp_path / out)
        assert call_tool(monkeypatch, TOOL, *arguments) == 2
        said = capsys.readouterr().err
        assert message in said
        assert 'Errno' not in said
        assert len(said.splitlines()) == 1

    def test_fourteen_joints_are_aic(self, tmp_path):
        assert [JOINTS[i] for i in AIC_IN_COCO] == AIC_NAMES[:12]
        source = save(tmp_path / 'a.json', coco([person([0, 0, 30, 40], count=14)]))
        from_annotations(source, tmp_path / 'k.npz')
        (found,) = Keypoints.read(tmp_path / 'k.npz').values
        for name, (x, y, score) in zip(JOINTS, found, strict=True):
            if name in AIC_NAMES:
                number = AIC_NAMES.index(name)
                assert (x, y, score) == (2 + number, 3 + number, 1)
            else:
                assert (x, y, score) == (0, 0, 0)

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'keypoints': [1.0] * 50}, 'annotation 0: keypoints are 50 numbers; 51'),
            ({'keypoints': None}, 'keypoints are no list of numbers'),
            ({'keypoints': ['1'] * 51}, r"annotation 0: keypoints\[0\] is '1', no number"),
            ({'keypoints': [1.0, None, 2] * 17}, r'keypoints\[1\] is None, no number'),
            ({'keypoints': [1e999] * 51}, r'0: keypoints\[0\] is not finite: inf'),
            ({'keypoints': [1.0, math.nan, 2] * 17}, r'keypoints\[1\] is not finite: nan'),
            ({'keypoints': [10**400] * 51}, r'keypoints\[0\] is not finite: 1000'),
            ({'keypoints': [3] * 51}, 'visibilities are whole numbers from 0 to 2'),
            ({'keypoints': [0] * 51}, 'none of its 1 persons has a labeled joint'),
            ({'category_id': [1]}, 'no id'),
        ],
    )
    def test_refused(self, tmp_path, change, message):
        source = save(tmp_path / 'a.json', coco([{**person([0, 0, 30, 40]), **change}]))
        with pytest.raises(DataError, match=message):
            from_annotations(source, tmp_path / 'k.npz')


def normalized(row):
    """Shares of an image of 30x40 pixels."""
    flat = row['keypoints']
    return {**row, 'keypoints': [v / (30, 40, 1)[i % 3] for i, v in enumerate(flat)]}


def shifted(row, by=5000):
    flat = row['keypoints']
    return {**row, 'keypoints': [v + (by, by, 0)[i % 3] for i, v in enumerate(flat)]}


class TestPlaces:
    """Joints that are not in pixels of their image, of files that are otherwise right."""

    boxes = ([2, 3, 20, 30], [4, 5, 20, 30], [0, 0, 30, 40])

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                normalized,
                r'of 3 of 3 samples all .* within 1\.5 pixels, .*0000/000\.jpg: x 0\.06',
            ),
            (
                shifted,
                r'51 of 51 labeled joints lie outside .*: 5002, 5003 in 2, 3, 22, 33 ',
            ),
        ],
    )
    def test_most_are_refused(self, tmp_path, change, message):
        rows = [change(person(box)) for box in self.boxes]
        source = save(tmp_path / 'a.json', coco(rows))
        with pytest.raises(DataError, match=r'a\.json: ' + message):
            from_annotations(source, tmp_path / 'k.npz')
        assert not (tmp_path / 'k.npz').exists()

    def test_single_ones_are_counted(self, tmp_path, monkeypatch):
        said = []
        monkeypatch.setattr(keypoint_places, 'print_log', lambda text, *_: said.append(text))
        rows = [person(self.boxes[0]), shifted(person(self.boxes[1])), person(self.boxes[2])]
        source = save(tmp_path / 'a.json', coco(rows))
        assert from_annotations(source, tmp_path / 'k.npz') == (3, 0)
        assert said == [
            f'{source}: of 1 of 3 samples no labeled joint lies near the image or box, the first '
            'train/0000/000.jpg: 5002, 5003 in 4, 5, 24, 35 (x0, y0, x1, y1)'
        ]

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda x: x / (30, 40, 1), r'of 10 of 10 samples all labeled .*000\.npy: x 0 to'),
            (
                lambda x: x + (5000, 0, 0),
                r'170 of 170 labeled .* 000\.npy: 5000, 0 in 0, 0, 30, 40',
            ),
        ],
    )
    def test_those_of_hap_too(self, folder, tmp_path, change, message):
        for number in range(10):
            save_hap(
                tmp_path / f'{number:03d}.npy', [[{'keypoints': change(pose(number % 3))}]]
            )
        with pytest.raises(DataError, match=message):
            from_hap(tmp_path, str(folder), tmp_path / 'k.npz')
        assert not (tmp_path / 'k.npz').exists()


class TestAic:
    def rows(self, visibility):
        flat = [v for i in range(14) for v in (2 + i, 3 + i, visibility[i])]
        return [
            {
                'image_id': 'abc',
                'human_annotations': {'human1': [1, 2, 200, 300]},
                'keypoint_annotations': {'human1': flat},
            }
        ]

    def test_its_own_list(self, tmp_path):
        visibility = [1, 2, 3] * 4 + [1, 1]
        source = save(tmp_path / 'a.json', self.rows(visibility))
        done = from_annotations(source, tmp_path / 'k.npz', 'aic', lambda path: (50, 60))
        assert done == (1, 0)
        stored = Keypoints.read(tmp_path / 'k.npz')
        assert stored.keys.tolist() == [crop_key(Crop('aic/abc.jpg', (1, 2, 50, 60)))]
        scores = {JOINTS[i]: stored.values[0, i, 2] for i in range(17)}
        assert (scores['right_shoulder'], scores['right_elbow'], scores['right_wrist']) == (
            1,
            0.5,
            0,
        )
        assert stored.values[0, JOINTS.index('right_elbow'), 0] == 2 + 1 - 1
        assert scores['nose'] == 0

    @pytest.mark.parametrize('key', ['image_id', 'human_annotations', 'keypoint_annotations'])
    def test_refused(self, tmp_path, key):
        rows = self.rows([1] * 14)
        del rows[0][key]
        with pytest.raises(DataError, match='without image_id'):
            from_annotations(save(tmp_path / 'a.json', rows), tmp_path / 'k.npz')


def pose(number: int) -> np.ndarray:
    x = np.arange(17, dtype=np.float32) + number
    return np.stack([x, 2 * x, np.full(17, 0.9, np.float32)], 1)


def hap_value(number: int):
    """What mmpose of that time returned: persons, and features that nobody asked for."""
    box = np.array([0, 0, 30, 40, 1], np.float32)
    return [[{'bbox': box, 'keypoints': pose(number), 'area': np.float64(3)}], [{'x': None}]]


def save_hap(path, value, protocol=None):
    array = np.empty((len(value), 1), object)
    for i, row in enumerate(value):
        array[i, 0] = row[0]
    if protocol is None:
        np.save(path, array, allow_pickle=True)
        return
    with open(path, 'wb') as file:
        header = {'descr': '|O', 'fortran_order': False, 'shape': array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        pickle.dump(array, file, protocol=protocol)


class TestHap:
    @pytest.mark.parametrize('protocol', [None, 2, 3, 4])
    def test_what_numpy_wrote_is_read(self, tmp_path, protocol):
        save_hap(tmp_path / 'a.npy', hap_value(3), protocol)
        found = read_object_array((tmp_path / 'a.npy').read_bytes())
        trusted = np.load(tmp_path / 'a.npy', allow_pickle=True)
        assert (found[0][0]['keypoints'] == trusted[0][0]['keypoints']).all()
        assert found[0][0]['keypoints'].dtype == np.float32
        assert found[0][0]['area'] == 3
        assert found[1][0] == {'x': None}

    def test_numpy_1_names_its_functions_differently(self, tmp_path):
        save_hap(tmp_path / 'a.npy', hap_value(3), 3)
        content = (tmp_path / 'a.npy').read_bytes()
        old = content.replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
        assert b'numpy.core' in old
        assert (read_object_array(old)[0][0]['keypoints'] == pose(3)).all()

    def test_a_set(self, folder, tmp_path, monkeypatch, capsys):
        poses = tmp_path / 'poses'
        poses.mkdir()
        for number in (0, 3, 4):
            save_hap(poses / f'{number:03d}.npy', hap_value(number))
        save_hap(poses / 'other.npy', hap_value(9))
        out = tmp_path / 'k.npz'
        assert not call_tool(monkeypatch, TOOL, 'hap', poses, folder, out, '--workers', 1)
        assert '3 samples, 7 left out (no .npy file of their name)' in capsys.readouterr().out
        data = PersonImages(str(folder), keypoints=str(out))
        for index in range(10):
            number = int(data.name(index)[-7:-4])
            joints = data[index]['keypoints'].numpy()
            if number in (0, 3, 4):
                assert np.abs(joints - pose(number)).max() < 1e-3
            else:
                assert np.isnan(joints).all()

    def test_two_images_of_one_name(self, folder, tmp_path):
        (folder / 'train/0001/000.jpg').write_bytes(encode(pixels()))
        with pytest.raises(DataError, match=r'0000/000.jpg and train/0001/000.jpg'):
            from_hap(tmp_path, str(folder), tmp_path / 'k.npz')

    def test_files_of_another_set(self, folder, tmp_path):
        save_hap(tmp_path / 'other.npy', hap_value(9))
        with pytest.raises(DataError, match='no file is named after one of the 10 images'):
            from_hap(tmp_path, str(folder), tmp_path / 'k.npz')
        with pytest.raises(MissingFileError, match='no such folder'):
            from_hap(tmp_path / 'none', str(folder), tmp_path / 'k.npz')

    @pytest.mark.parametrize(
        ('value', 'message'),
        [
            ([[{'points': pose(0)}]], r"no \[0\]\[0\]\['keypoints'\]"),
            ([[{'keypoints': pose(0)[:14]}]], r'shape \(14, 3\), not \(17, 3\)'),
            ([[{'keypoints': pose(0) * np.nan}]], r'000\.npy: keypoints that are not finite'),
        ],
    )
    def test_other_content(self, folder, tmp_path, value, message):
        save_hap(tmp_path / '000.npy', value)
        with pytest.raises(DataError, match=message):
            from_hap(tmp_path, str(folder), tmp_path / 'k.npz')


class Calls:
    """Pickles as a call of a function, and a state that its result is given."""

    def __init__(self, function, arguments=(), *state):
        self.call = function, arguments, *state

    def __reduce__(self):
        return self.call


EMPTY = np.empty(0)
HOSTILE = {
    'bytes as pointers': ((2,), 'O', b'x' * 16),
    'a list as numbers': ((2,), 'f8', [1, 2]),
    'lists without content': ((10**9, 0), 'O', []),
    'numbers without content': ((10**12, 0), 'f8', b''),
    'two negative sizes': ((-1, -1), 'i1', b'a'),
    'more than there is': ((10**9,), 'f8', b'x' * 8),
    'no type': ((1,), [('a', 'O')], b'x' * 8),
}
PROTO, STOP = b'\x80\x04', b'.'


def doubled(times, last):
    """A tuple whose two items are one tuple, whose two items are one tuple, and so on."""
    return b')' + b''.join(b'\x94h%c\x86' % i for i in range(times)) + last


def repeated_range():
    call = b'cbuiltins\nrange\n\x94' + b'J\x40\x42\x0f\x00\x85\x94'  # 1,000,000
    return PROTO + b']' + call + b'R' + b'h\x00h\x01R' * 2000 + STOP


EXPENSIVE = {
    'many ranges': repeated_range,
    'many dicts': lambda: PROTO + b'}' * 2_000_000 + STOP,
    'a nested name': lambda: PROTO + b')' + b'\x85' * 200_000 + b')\x93' + STOP,
    'a name of shared parts': lambda: PROTO + doubled(60, b')\x93') + STOP,
    'a type of shared parts': lambda: PROTO + b'cnumpy\ndtype\n' + doubled(60, b'\x85R') + STOP,
    'numbers that collide as keys': lambda: (
        PROTO
        + b'}'
        + b''.join(
            b'\x8a\x0a' + ((2**61 - 1) * i).to_bytes(10, 'little') + b'Ns'
            for i in range(1, 20_000)
        )
        + STOP
    ),
    'a shape of many sizes': lambda: pickle.dumps(
        Calls(*EMPTY.__reduce__()[:2], (1, (1,) * 100_000, np.dtype('O'), False, [0])), 2
    ),
}
MALICIOUS = {
    'a command': Calls(os.system, ('touch PLACE',)),
    'open': Calls(open, ('PLACE', 'w')),
    'eval': Calls(eval, ("open('PLACE', 'w')",)),
    'another codec': Calls(codecs.encode, ('x', 'rot13')),
    'a set': {1, 2},
    'an object': replace(SIZES['tiny']),
    'an array of a class': Calls(EMPTY.__reduce__()[0], (Calls, (0,), b'b')),
}


class TestRefused:
    @pytest.mark.parametrize('name', MALICIOUS)
    @pytest.mark.parametrize('protocol', [2, 4])
    def test_nothing_is_called(self, tmp_path, monkeypatch, name, protocol):
        monkeypatch.chdir(tmp_path)
        content = pickle.dumps([[{'keypoints': MALICIOUS[name]}]], protocol)
        with pytest.raises(RefusedError):
            read_plain(content)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize('name', HOSTILE)
    @pytest.mark.parametrize('protocol', [2, 4])
    def test_numpy_is_not_given_what_it_does_not_expect(self, name, protocol):
        shape, code, content = HOSTILE[name]
        value = Calls(*EMPTY.__reduce__()[:2], (1, shape, np.dtype(code), False, content))
        with pytest.raises(RefusedError, match=r'array|type'):
            read_plain(pickle.dumps([value], protocol))

    def test_the_file_is_named(self, folder, tmp_path):
        array = np.empty((1, 1), object)
        array[0, 0] = {'keypoints': MALICIOUS['a command']}
        np.save(tmp_path / '000.npy', array, allow_pickle=True)
        with pytest.raises(DataError, match=r'000.npy: refused: it asks for posix.system'):
            from_hap(tmp_path, str(folder), tmp_path / 'k.npz')

    def test_lists_that_hold_themselves(self):
        endless: list = []
        endless.append(endless)
        wide: list = [0] * 100
        for _ in range(6):
            wide = [wide] * 100
        for value in (endless, wide):
            with pytest.raises(RefusedError, match='nested too deeply, or holds too much'):
                read_plain(pickle.dumps(value))

    @pytest.mark.parametrize('protocol', [2, 3, 4, 5])
    def test_plain_values_are_as_python_reads_them(self, protocol):
        for value in (
            {'rows': range(3, 9, 2), 'none': range(0)},
            np.arange(6, dtype=np.int64).reshape(2, 3).T,
            np.array(['a', 'long'], object),
            np.array(['a', 'long']),
            np.array([b'a', b'long']),
            np.zeros((0, 3), np.float32),
            np.float32(0.5),
            [b'\xff', 2**40, -1, 'é', {'a': ()}],
        ):
            found = read_plain(pickle.dumps(value, protocol))
            if isinstance(value, dict):
                assert {name: list(rows) for name, rows in found.items()} == {
                    name: list(rows) for name, rows in value.items()
                }
            elif isinstance(value, list):
                assert found == [b'\xff', 2**40, -1, 'é', {'a': []}]  # tuples are lists
            else:
                np.testing.assert_array_equal(found, value)
                if isinstance(value, np.ndarray) and value.dtype != object:
                    assert found.dtype == value.dtype

    @pytest.mark.parametrize('name', EXPENSIVE)
    def test_no_file_takes_all_time_or_memory(self, name):
        with pytest.raises(RefusedError):
            read_plain(EXPENSIVE[name]())

    def test_a_range_of_any_length_is_refused(self):
        with pytest.raises(RefusedError, match=r'asks for range\(0, 1000000000\)'):
            read_plain(pickle.dumps(range(10**9), 4))

    def test_truncated_files(self, tmp_path):
        save_hap(tmp_path / 'a.npy', hap_value(1), 3)
        content = (tmp_path / 'a.npy').read_bytes()
        for length in range(0, len(content), 7):
            with pytest.raises(RefusedError):
                read_object_array(content[:length])

    def test_changed_bytes_give_values_or_are_refused(self, tmp_path):
        save_hap(tmp_path / 'a.npy', hap_value(1), 4)
        content = bytearray((tmp_path / 'a.npy').read_bytes())
        rng = np.random.default_rng(0)
        refused = 0
        for _ in range(600):
            changed = bytearray(content)
            changed[rng.integers(128, len(content))] = rng.integers(256)
            try:
                read_object_array(bytes(changed))
            except RefusedError:
                refused += 1
        assert refused > 50

    def test_numbers_alone_and_large_files(self, tmp_path):
        np.save(tmp_path / 'a.npy', np.zeros(3))
        with pytest.raises(RefusedError, match='an array of float64 and not of objects'):
            read_object_array((tmp_path / 'a.npy').read_bytes())
        with pytest.raises(RefusedError, match='bytes, more than'):
            read_object_array(bytes((1 << 24) + 1))


class TestPeople:
    def test_joints_lie_on_the_person(self):
        """Limbs of a figure that stands alone are where the image differs from its background."""
        spec = replace(SIZES['tiny'], height=256, width=128)
        on_body = total = 0
        for image in list_images(spec)[:18]:
            shot = plan_crop(spec.seed, *image.key)
            keypoints = image_keypoints(spec, image)
            nothing = Occluder('none', 0, 0, (0, 0, 0))
            alone = [f for f in shot.figures if f.place.height > 0.82]
            if len(alone) != 1:
                continue
            drawn, empty = (
                render_crop(replace(shot, figures=figures, occluder=nothing), (256, 128))
                for figures in (tuple(alone), ())
            )
            differs = np.abs(drawn.astype(int) - empty).max(2) > 12
            for x, y, score in keypoints:
                if score:
                    row, column = round(y), round(x)
                    window = differs[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
                    on_body += window.mean() > 0.3
                    total += 1
        assert total > 150
        assert on_body / total > 0.93

    def test_left_is_left_of_the_person(self):
        spec = SIZES['tiny']
        left, right = JOINTS.index('left_hip'), JOINTS.index('right_hip')
        for image in list_images(spec)[:18]:
            shot = plan_crop(spec.seed, *image.key)
            yaws = [f.view.yaw for f in shot.figures if f.place.height > 0.82]
            facing = np.cos(yaws[0])
            keypoints = image_keypoints(spec, image)
            if len(yaws) == 1 and abs(facing) > 0.5:
                across = keypoints[left, 0] - keypoints[right, 0]
                assert np.sign(across) == np.sign(facing)

    def test_faces_are_seen_from_the_front_alone(self):
        spec = SIZES['small']
        for image in list_images(spec)[:40]:
            shot = plan_crop(spec.seed, *image.key)
            yaws = [f.view.yaw for f in shot.figures if f.place.height > 0.82]
            if len(yaws) != 1:
                continue
            nose = image_keypoints(spec, image)[0, 2]
            assert nose == (np.cos(yaws[0]) >= -0.1)

    def test_the_tool_writes_them_beside_an_unchanged_set(self, tmp_path, monkeypatch):
        tool = 'dataset_converters/make_people.py'
        write_market1501(tmp_path / 'plain', SIZES['tiny'])
        out, path = tmp_path / 'people', tmp_path / 'k.npz'
        for _ in range(2):  # the second time the set is finished
            path.unlink(missing_ok=True)
            arguments = (out, '--size', 'tiny', '--workers', 1, '--keypoints', path)
            assert not call_tool(monkeypatch, tool, *arguments)
            data = PersonImages(str(out / 'bounding_box_train'), keypoints=str(path))
            assert len(data) == 18
            assert not any(data[i]['keypoints'].isnan().any() for i in range(18))
        for file in (tmp_path / 'plain').rglob('*'):
            if file.is_file():
                assert (
                    out / file.relative_to(tmp_path / 'plain')
                ).read_bytes() == file.read_bytes()
        arguments = (out, '--datasets', 'coco', '--keypoints', path)
        assert call_tool(monkeypatch, tool, *arguments) == 2
