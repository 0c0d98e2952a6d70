"""Files that are written whole, and files that have to be there."""

from pathlib import Path

import pytest

from saip.datasets.files import require_files


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ('a/1.jpg', 'a/2.jpg', 'b/1.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def require(folder: Path, *names: str) -> None:
    require_files((str(folder / name) for name in names), 'list.txt', 'It is a folder')


def test_files_that_are_there_pass(folder, monkeypatch):
    require(folder, 'a/1.jpg', 'a/2.jpg', 'b/1.jpg', 'a/1.jpg')
    require(folder)
    monkeypatch.chdir(folder / 'a')
    require_files(['1.jpg', '../b/1.jpg'], 'list.txt', 'It is a folder')


def test_the_first_missing_file_is_named_and_all_are_counted(folder):
    names = ['b/2.jpg', 'a/1.jpg', 'b/1.jpg', 'a/3.jpg', 'b/2.jpg']
    with pytest.raises(FileNotFoundError) as caught:
        require(folder, *names)
    assert str(caught.value) == (
        f'{folder}/a/3.jpg: no such file, and 2 of the 4 files to read that list.txt names are '
        'missing. It is a folder'
    )


def test_a_file_of_the_same_name_elsewhere_does_not_count(folder):
    with pytest.raises(FileNotFoundError, match=rf'{folder}/b/2\.jpg: no such file, and 1 of'):
        require(folder, 'a/2.jpg', 'b/2.jpg')


def test_a_missing_folder_is_named(folder):
    with pytest.raises(FileNotFoundError) as caught:
        require(folder, 'a/1.jpg', 'c/1.jpg')
    assert str(caught.value) == (
        f'{folder}/c: no such folder, but list.txt names files in it. It is a folder'
    )


def test_a_file_in_the_place_of_a_folder_is_no_folder(folder):
    with pytest.raises(FileNotFoundError, match=r'a/1\.jpg: no such folder'):
        require(folder, 'a/1.jpg/1.jpg')
