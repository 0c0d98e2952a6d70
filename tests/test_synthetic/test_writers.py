"""Folders of drawn sets: determinism, sizes, what is there already, the command line."""

import os
import runpy
import sys
from pathlib import Path

import cv2
import pytest

from saip.synthetic import formats
from saip.synthetic.formats import (
    ade20k,
    ap10k,
    coco,
    crowdhuman,
    humanart,
    lip,
    pa100k,
    peta,
)
from saip.synthetic.formats.base import APART

ROOT = Path(__file__).parents[2]
FOLDERS = {
    'market1501': 'Market1501',
    'msmt17': 'MSMT17',
    'pa100k': 'PA100K',
    'peta': 'PETA',
    'coco': 'coco',
    'wholebody': 'coco',
    'lip': 'LIP',
    'crowdhuman': 'CrowdHuman',
    'humanart': 'HumanArt',
    'ap10k': 'ap10k',
    'cuhk_pedes': 'CUHK-PEDES',
    'icfg_pedes': 'ICFG-PEDES',
    'chimpact': 'ChimpACT',
    'fashionpedia': 'fashionpedia',
    'imagenet': 'imagenet',
    'cihp': 'CIHP',
    'cihp_raw': 'instance-level_human_parsing',
    'ade20k': 'ADEChallengeData2016',
}
QUICK = ('lip', 'peta')
DRAWN = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in FOLDERS
    if name != 'wholebody'
]


def read_all(root):
    files = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_all_sets_of_the_paper_are_there():
    assert {name: folder for name, (folder, _) in formats.DATASETS.items()} == FOLDERS


@pytest.mark.parametrize('name', DRAWN)
def test_same_bytes_with_any_number_of_processes(name, drawn, tmp_path):
    _, write = formats.DATASETS[name]
    assert write(tmp_path / 'set', 'tiny', 0, workers=2)
    assert read_all(tmp_path / 'set') == read_all(drawn(name))


@pytest.mark.parametrize('name', DRAWN)
def test_another_seed_gives_other_images_in_the_same_layout(name, drawn, tmp_path):
    _, write = formats.DATASETS[name]
    write(tmp_path / 'set', 'tiny', seed=1)
    one, two = read_all(drawn(name)), read_all(tmp_path / 'set')
    images = [path for path in one if path.endswith(('.jpg', '.png', '.JPEG'))]
    common = [path for path in images if path in two]
    assert all(one[path] != two[path] for path in common)
    assert {Path(path).parent for path in one} == {Path(path).parent for path in two}


@pytest.mark.parametrize('name', FOLDERS)
def test_a_contact_sheet_lies_beside(name, drawn):
    sheet = cv2.imread(str(drawn(name) / 'contact_sheet.png'))
    assert sheet.shape[0] >= 200
    assert sheet.shape[1] >= 200
    assert sheet.std() > 20


def test_a_finished_set_is_left_alone_and_another_is_refused(drawn):
    folder = drawn('lip')
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert not formats.write_lip(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    with pytest.raises(ValueError, match='seed 0 instead of 2'):
        formats.write_lip(folder, seed=2)
    with pytest.raises(ValueError, match='size tiny instead of small'):
        formats.write_lip(folder, 'small')
    with pytest.raises(ValueError, match='format lip instead of coco'):
        formats.write_coco(folder)


@pytest.mark.parametrize('name', FOLDERS)
def test_unknown_sizes_and_seeds_are_named(name, tmp_path):
    _, write = formats.DATASETS[name]
    with pytest.raises(ValueError, match=r"no size 'huge' of \w+: take one of tiny, small"):
        write(tmp_path / 'set', 'huge')
    with pytest.raises(ValueError, match='seed'):
        write(tmp_path / 'set', 'tiny', -1)
    assert not (tmp_path / 'set').exists()


def test_no_size_runs_into_the_numbers_of_another_set_or_split():
    """Splits begin at least an eighth of the distance between sets apart."""

    for module in (ade20k, ap10k, coco, crowdhuman, humanart, lip, pa100k, peta):
        for spec in module.SIZES.values():
            counts = [value for value in vars(spec).values() if isinstance(value, int)]
            assert max(counts) < APART / 8


@pytest.fixture
def run_tool(monkeypatch):
    path = ROOT / 'tools/dataset_converters/make_people.py'

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, args)])
        runpy.run_path(str(path), run_name='__main__')

    return run


def test_command_line(drawn, tmp_path, run_tool, capsys):
    arguments = (tmp_path, '--datasets', 'lip', 'ap10k', '--size', 'tiny', '--workers', 1)
    run_tool(*arguments)
    assert f'{tmp_path / "LIP"}: written' in capsys.readouterr().out
    for name in ('lip', 'ap10k'):
        assert read_all(tmp_path / FOLDERS[name]) == read_all(drawn(name))
    run_tool(*arguments)
    assert f'{tmp_path / "ap10k"}: already finished' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            ('--datasets', 'lip', '--size', 'quickstart'),
            '--size quickstart: with --datasets it is tiny or small',
        ),
        (('--datasets', 'imagenet21k'), 'crowdhuman'),
    ],
)
def test_wrong_arguments_are_named(tmp_path, run_tool, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run_tool(tmp_path, *arguments)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_foreign_folder_is_one_line(tmp_path, run_tool, capsys):
    (tmp_path / 'LIP').mkdir()
    (tmp_path / 'LIP/notes.txt').write_text('mine')
    with pytest.raises(SystemExit, match='2'):
        run_tool(tmp_path, '--datasets', 'lip', '--size', 'tiny')
    error = capsys.readouterr().err
    assert error.startswith('make_people.py: error: ')
    assert 'LIP exists and is no set of synthetic persons' in error
