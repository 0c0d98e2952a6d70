"""What is said of the files of a folder that are not read, or cannot be."""

import os

import pytest

from saip.datasets.crops import DataError
from saip.datasets.person_images import PersonImages
from tests.test_datasets.image_files import encode, fill, pixels

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
COUNTS = {'.jpg': 3, '.heic': 10, '.avif': 8, '': 5, '.JFIF': 2, '.jpe': 1}


def count_lines(capsys, root):
    return [line for line in capsys.readouterr().out.splitlines() if f'{root}: ' in line]


def test_files_that_are_not_read_are_counted_by_suffix_in_one_line(tmp_path, capsys):
    for suffix, count in COUNTS.items():
        for number in range(count):
            (tmp_path / f'{suffix[1:]}_{number}{suffix}').write_bytes(
                encode(pixels(seed=number))
            )
    parts = [
        PersonImages(str(tmp_path), holdout=2, part=part) for part in ('train', 'held_back')
    ]
    assert [len(part) for part in parts] == [4, 2]
    (line,) = count_lines(capsys, tmp_path)
    assert line.endswith(
        '6 images are read, 23 other files are not: 10 .heic, 8 .avif, 5 without a suffix'
    )
    assert all(int(sample['replaced']) == -1 for part in parts for sample in part)


def test_a_folder_of_images_alone_needs_no_line(tmp_path, capsys):
    fill(tmp_path, 2)
    PersonImages(str(tmp_path))
    assert not count_lines(capsys, tmp_path)


def test_a_folder_of_other_files_says_which(tmp_path):
    for number in range(12):
        (tmp_path / f'x.{number:02d}').write_bytes(b'x')
    with pytest.raises(DataError, match=r'12 other files .*: 1 \.00, .*, 2 of other suffixes'):
        PersonImages(str(tmp_path))


def test_a_bad_file_has_one_line_whatever_its_name(tmp_path, capsys):
    fill(tmp_path, 2)
    for name in (b'not\xffutf8.jpg', b'two\nlines.jpg'):
        with open(os.path.join(os.fsencode(tmp_path), name), 'wb') as file:
            file.write(b'bad')
    dataset = PersonImages(str(tmp_path))
    assert sum(int(sample['replaced']) >= 0 for sample in dataset) == 2
    out, err = capsys.readouterr()
    bad = [line for line in out.splitlines() if 'bad image replaced' in line]
    assert len(bad) == 2
    assert r'not\udcffutf8.jpg in ' in bad[0]
    assert r'two\nlines.jpg in ' in bad[1]
    assert 'Traceback' not in err
