"""Verification and the manifest that it writes."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saip.datasets.converters.folder import make_manifest
from saip.datasets.crops import Crop, DataError
from saip.datasets.files import write_atomic
from saip.datasets.manifest import (
    MAGIC,
    MANIFEST_NAME,
    Entry,
    read_manifest,
    read_manifest_crops,
    write_manifest,
)
from saip.datasets.parallel import parallel_map
from saip.datasets.person_images import PersonImages
from saip.datasets.sources import FolderStorage
from saip.datasets.verify import image_size, verify
from tests.test_datasets.image_files import BROKEN, JPEG, ODD, PNG, encode, pixels
from tests.tiny import ROOT


@pytest.fixture
def folder(tmp_path):
    """A folder of five good files and many bad ones."""
    root = tmp_path / 'set'
    root.mkdir()
    for number in range(3):
        (root / f'good{number}.jpg').write_bytes(encode(pixels(40, 30, number)))
    (root / 'upper.JPG').write_bytes(JPEG)
    (root / 'ümlaut name.png').write_bytes(PNG)
    for name, content in BROKEN.items():
        (root / f'broken_{name}.jpg').write_bytes(content)
    (root / 'tiny.png').write_bytes(ODD['one_pixel'])
    (root / 'narrow.jpg').write_bytes(encode(pixels(100, 15)))
    (root / 'truly.png').write_bytes(JPEG)
    (root / 'line\nbreak.jpg').write_bytes(JPEG)
    (root / 'readme.txt').write_text('hello')
    return root


def rejected(root: Path) -> dict[str, str]:
    text = (root / 'saip_manifest.rejected.tsv').read_text()
    return dict(csv.reader(text.splitlines(), delimiter='\t', quoting=csv.QUOTE_NONE))


def test_verified_folder(folder):
    count = make_manifest(str(folder), str(folder / MANIFEST_NAME))
    manifest = read_manifest(folder / MANIFEST_NAME)
    assert manifest.root == '.'
    assert manifest.entries == [
        Entry(Crop('good0.jpg'), 30, 40),
        Entry(Crop('good1.jpg'), 30, 40),
        Entry(Crop('good2.jpg'), 30, 40),
        Entry(Crop('upper.JPG'), 30, 40),
        Entry(Crop('ümlaut name.png'), 30, 40),
    ]
    reasons = rejected(folder)
    assert len(reasons) == len(BROKEN) + 5
    assert count.found == len(BROKEN) + 9
    assert count.written == 5
    assert 'tiny: 1x1' in reasons['tiny.png']
    assert 'tiny: 15x100' in reasons['narrow.jpg']
    assert reasons['truly.png'] == 'wrong suffix: .png, but the content is JPEG'
    assert reasons['readme.txt'] == 'wrong suffix: not one of an image'
    assert 'line break' in reasons["'line\\nbreak.jpg'"]
    assert 'truncated' in reasons['broken_jpeg_half.jpg'].lower()
    assert 'empty' in reasons['broken_empty.jpg']
    assert 'pixels' in reasons['broken_png_huge.jpg']


def test_manifest_is_found_and_trains_only_on_good_files(folder):
    assert len(PersonImages(str(folder))) == len(BROKEN) + 9
    make_manifest(str(folder), str(folder / MANIFEST_NAME))
    dataset = PersonImages(str(folder))
    assert len(dataset) == 5
    assert [int(dataset[index]['replaced']) for index in range(5)] == [-1] * 5


def test_manifest_elsewhere_remembers_its_images(folder, tmp_path):
    place = tmp_path / 'LUP1M' / MANIFEST_NAME
    make_manifest(str(folder), str(place))
    assert read_manifest(place).root == '../set'
    dataset = PersonImages(str(place.parent))
    assert int(dataset[0]['replaced']) == -1
    folder.rename(tmp_path / 'moved')
    with pytest.raises(FileNotFoundError, match='set, which does not exist'):
        PersonImages(str(place.parent))
    dataset = PersonImages(str(place.parent), data_prefix=str(tmp_path / 'moved'))
    assert int(dataset[0]['replaced']) == -1


def test_same_file_whatever_the_number_of_processes(folder, tmp_path):
    contents = set()
    for workers in (1, 2, 3):
        make_manifest(str(folder), str(tmp_path / 'm' / MANIFEST_NAME), workers=workers)
        contents.add((tmp_path / 'm' / MANIFEST_NAME).read_bytes())
        contents.add((tmp_path / 'm' / 'saip_manifest.rejected.tsv').read_bytes())
    assert len(contents) == 2
    assert sorted(path.name for path in (tmp_path / 'm').iterdir()) == [
        'saip_manifest.rejected.tsv',
        MANIFEST_NAME,
    ]


def test_boxes_are_clipped_and_tiny_ones_left_out(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(encode(pixels(100, 80)))
    crops = [
        Crop('a.jpg', (50, 60, 500, 600)),
        Crop('a.jpg', (0, 0, 15, 100)),
        Crop('a.jpg', (0, 0, 16, 16)),
    ]
    checked = verify(FolderStorage(str(tmp_path)), crops)
    assert [entry.crop.box for entry in checked.entries] == [(0, 0, 16, 16), (50, 60, 80, 100)]
    assert checked.rejected == [('a.jpg', 'tiny: 15x100 pixels, fewer than 16')]
    write_manifest(tmp_path / 'm.tsv', tmp_path, checked.entries)
    assert read_manifest(tmp_path / 'm.tsv').entries == checked.entries
    crops = [entry.crop for entry in checked.entries]
    assert read_manifest_crops(tmp_path / 'm.tsv') == ('.', crops)
    dataset = PersonImages(str(tmp_path), 'm.tsv')
    assert dataset.crop(1).box == (50, 60, 80, 100)
    assert dataset[1]['size'].tolist() == [40, 30]


@pytest.mark.parametrize('name', ODD)
def test_odd_images_pass(name):
    width, height = image_size(ODD[name], 'key without suffix')
    assert width > 0
    assert height > 0


def test_header_of_the_file(tmp_path):
    write_manifest(tmp_path / 'm.tsv', tmp_path / 'x', [Entry(Crop('b', (1, 2, 3, 4)), 9, 8)])
    first, body = (tmp_path / 'm.tsv').read_text().split('\n', 1)
    assert body == 'b\t9\t8\t1\t2\t3\t4\n'
    assert json.loads(first.removeprefix(MAGIC)) == {
        'version': 1,
        'root': 'x',
        'count': 1,
        'sha256': hashlib.sha256(body.encode()).hexdigest(),
    }


def test_damaged_manifests(tmp_path):
    path = tmp_path / 'm.tsv'
    write_manifest(path, tmp_path, [Entry(Crop(f'{n}.jpg'), 9, 8) for n in range(3)])
    good = path.read_bytes()
    cases = [
        (b'', 'not a manifest'),
        (b'path\twidth\n', 'not a manifest'),
        (MAGIC.encode() + b'{}\n', 'not a manifest'),
        (MAGIC.encode() + b'[' * 100000 + b'\n', 'not a manifest'),
        (good.replace(b'"version": 1', b'"version": 2'), 'version 2, expected 1'),
        (good[:-5], 'not those that it was written with'),
        (good.replace(b'1.jpg', b'4.jpg'), 'not those that it was written with'),
        (good.replace(b'"count": 3', b'"count": 4'), '3 lines, but its header counts 4'),
    ]
    for content, pattern in cases:
        path.write_bytes(content)
        with pytest.raises(DataError, match=pattern) as caught:
            read_manifest(path)
        assert '\n' not in str(caught.value)
    write_manifest(path, tmp_path, [])
    with pytest.raises(DataError, match='lists no image'):
        read_manifest(path)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    body=st.lists(st.text(st.sampled_from('ab\t\n\r\x85 0129-é'), max_size=12), max_size=4),
    count=st.integers(0, 4),
    cut=st.integers(0, 200),
)
def test_manifest_parser_raises_typed_errors_only(tmp_path, body, count, cut):
    content = '\n'.join(body).encode()
    sha = hashlib.sha256(content).hexdigest()
    header = json.dumps({'version': 1, 'root': '.', 'count': count, 'sha256': sha})
    path = tmp_path / 'm.tsv'
    path.write_bytes((f'{MAGIC}{header}\n'.encode() + content)[: cut if cut < 100 else None])
    for read in (read_manifest, read_manifest_crops):
        try:
            found = read(path)[1]
        except DataError as error:
            message = str(error)
        else:
            message = str(path)
            assert len(found) == count
        assert str(path) in message


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    write_atomic(path, b'old')

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='disk full'):
        write_atomic(path, b'new')
    assert [p.name for p in tmp_path.iterdir()] == ['file']
    assert path.read_bytes() == b'old'


def test_a_folder_that_cannot_be_listed_is_an_error(folder, monkeypatch):
    (folder / 'locked').mkdir()
    listed = os.scandir

    def refuse(path):
        if Path(path).name == 'locked':
            raise PermissionError(13, 'Permission denied', str(path))
        return listed(path)

    monkeypatch.setattr('os.scandir', refuse)
    with pytest.raises(PermissionError, match='locked'):
        PersonImages(str(folder))


def test_sizes_below_a_pixel_and_no_workers_are_refused(folder):
    for options, message in (
        ({'min_side': 0}, 'min_side must be at least 1'),
        ({'workers': 0}, 'workers must be at least 1'),
    ):
        with pytest.raises(ValueError, match=message):
            make_manifest(str(folder), str(folder / MANIFEST_NAME), **options)


def test_a_folder_without_a_usable_image_is_refused_and_listed(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(BROKEN['text'])
    with pytest.raises(DataError, match=r'nothing in .* can be used; .*rejected\.tsv says why'):
        make_manifest(str(tmp_path), str(tmp_path / MANIFEST_NAME))
    assert list(rejected(tmp_path)) == ['a.jpg']
    assert not (tmp_path / MANIFEST_NAME).exists()


def test_a_process_that_is_ended_from_outside_is_one_line():
    with pytest.raises(ChildProcessError, match='fewer workers than 2') as caught:
        parallel_map(os._exit, [1, 1, 1, 1], 2, 'work')
    assert '\n' not in str(caught.value)


SLEEPERS = """
import signal
import time

import saip.datasets.progress
from saip.datasets.parallel import parallel_map

saip.datasets.progress.SECONDS_BETWEEN_LINES = {False: 0}

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    try:
        parallel_map(time.sleep, [0.1] * 8 + [1.0], 8, 'asleep')  # most have nothing to do
    except KeyboardInterrupt:
        print('interrupted')
"""


def test_an_interruption_from_the_keyboard_ends_all_processes(tmp_path):
    """It reaches all of them; one that dies with the lock of a queue would hang the others."""
    script = tmp_path / 'sleepers.py'
    script.write_text(SLEEPERS)
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith('asleep: 1')
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (0, 'interrupted\n')
    assert 'Traceback' not in err, err


def test_progress_is_shown(capsys, monkeypatch):
    monkeypatch.setattr('saip.datasets.progress.SECONDS_BETWEEN_LINES', {True: 0, False: 0})
    assert parallel_map(str, range(4), 1, 'count') == ['0', '1', '2', '3']
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith('count: 1/4 (25 %), ')
    assert lines[-1].startswith('count: 4/4 (100 %), ')
    assert lines[-1].endswith('0:00:00 left')
