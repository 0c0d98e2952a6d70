"""CUHK-PEDES and ICFG-PEDES: what is read, and what is refused."""

import json
from pathlib import Path

import pytest

from saip.datasets.crops import DataError
from saip.downstream.text_reid import CUHKPEDES, ICFGPEDES
from saip.downstream.text_reid.annotations import read_descriptions
from saip.errors import InputError, MissingFileError
from saip.synthetic.formats import write_cuhk_pedes, write_icfg_pedes
from tests.test_downstream.test_text_reid.people_files import (
    caption,
    cuhk_entries,
    icfg_entries,
    write_cuhk,
    write_icfg,
)


def test_cuhk_pedes_has_a_record_per_caption_in_training(tmp_path):
    root = str(write_cuhk(tmp_path))
    data = CUHKPEDES(root, 'train')
    assert len(data) == 4 * 3 * 2
    assert data.metainfo['classes'] == ('1', '2', '3', '4')
    first, second = data.get_data_info(0), data.get_data_info(1)
    assert first['img_path'] == second['img_path'] == f'{root}/imgs/CUHK01/0001_0.png'
    assert (first['caption'], second['caption']) == (caption(1, 0), caption(1, 1))
    assert [data.get_data_info(i)['gt_label'] for i in (0, 6, 23)] == [0, 1, 3]
    assert [data.get_data_info(i)['pid'] for i in (0, 6, 23)] == [1, 2, 4]


@pytest.mark.parametrize(
    ('split', 'pids'), [('val', [5] * 3 + [6] * 3), ('test', [7] * 3 + [8] * 3)]
)
def test_cuhk_pedes_has_a_record_per_image_in_a_test(tmp_path, split, pids):
    data = CUHKPEDES(str(write_cuhk(tmp_path)), split)
    found = [data.get_data_info(i) for i in range(len(data))]
    assert [record['pid'] for record in found] == pids
    assert found[1]['captions'] == [caption(pids[0], 1), caption(pids[0], 2)]
    # What a vocabulary is learnt from is the training's, whatever the split.
    expected = [text for image in cuhk_entries()[:12] for text in image['captions']]
    assert data.training_captions() == expected


@pytest.mark.parametrize('name', ['ICFG-PEDES.json', 'ICFG_PEDES.json'])
def test_icfg_pedes_by_both_names(tmp_path, name):
    root = str(write_icfg(tmp_path, name))
    train = ICFGPEDES(root, 'train')
    assert len(train) == 12
    assert [train.get_data_info(i)['gt_label'] for i in (0, 3, 11)] == [0, 1, 3]
    test = ICFGPEDES(root, 'test')
    assert [test.get_data_info(i)['pid'] for i in (0, 8)] == [4, 6]
    assert len(test.get_data_info(0)['captions']) == 1


def test_synthetic_sets_have_the_published_form(tmp_path):
    write_cuhk_pedes(tmp_path / 'cuhk')
    write_icfg_pedes(tmp_path / 'icfg')
    sizes = [
        (len(kind(str(tmp_path / name), split)), split)
        for name, kind, splits in (
            ('cuhk', CUHKPEDES, ('train', 'val', 'test')),
            ('icfg', ICFGPEDES, ('train', 'test')),
        )
        for split in splits
    ]
    assert sizes == [(48, 'train'), (6, 'val'), (12, 'test'), (24, 'train'), (12, 'test')]


def test_icfg_pedes_has_no_validation(tmp_path):
    with pytest.raises(DataError, match=r'no image of split val.*take split=test'):
        ICFGPEDES(str(write_icfg(tmp_path)), 'val')


def test_an_unknown_split_of_the_configuration(tmp_path):
    with pytest.raises(InputError, match="split='valid': choose one of train, val, test"):
        CUHKPEDES(str(write_cuhk(tmp_path)), 'valid')


def change(entries: list[dict], number: int, **values) -> list[dict]:
    entries[number] = {**entries[number], **values}
    return entries


def without(entries: list[dict], number: int, key: str) -> list[dict]:
    del entries[number][key]
    return entries


GAP = [image for image in cuhk_entries() if image['id'] != 2]
WRONG = {
    'a caption without an image': (
        change(cuhk_entries(), 1, file_path='CUHK01/other.png'),
        MissingFileError,
        r'imgs/CUHK01/other\.png: no such file, and 1 of the 12 .*reid_raw\.json.*CUHK-PEDES is',
    ),
    'a folder that is missing': (
        change(cuhk_entries(), 1, file_path='Market/other.png'),
        MissingFileError,
        r'imgs/Market: no such folder, but .*reid_raw\.json names files in it',
    ),
    'a gap': (
        GAP,
        DataError,
        r'count from 1 without a gap, but 2 is missing \(there are 3, 1 to 4',
    ),
    'identities from 0': (icfg_entries(), DataError, 'count from 1 without a gap, but 4 is'),
    'no captions': (
        change(cuhk_entries(), 2, captions=[]),
        DataError,
        r'entry 2 \(CUHK01/0001_2\.png\) has no caption',
    ),
    'a caption of spaces': (
        change(cuhk_entries(), 2, captions=['A man', ' \n']),
        DataError,
        r"entry 2 \(.*\): a caption is empty or no text: ' \\n'",
    ),
    'one text in place of a list': (
        change(cuhk_entries(), 2, captions='A man'),
        DataError,
        "has no caption: captions='A man'",
    ),
    'an unknown split': (
        change(cuhk_entries(), 3, split='query'),
        DataError,
        "entry 3: unknown split 'query'; allowed: train, val, test",
    ),
    'no identity': (without(cuhk_entries(), 4, 'id'), DataError, 'entry 4 has no id; the publ'),
    'an identity in words': (
        change(cuhk_entries(), 4, id='5'),
        DataError,
        "id='5': a whole number from 0 on",
    ),
    'an absolute path': (
        change(cuhk_entries(), 0, file_path='/data/a.png'),
        DataError,
        "file_path='/data/a.png': a path relative",
    ),
    'twice the same image': (
        [*cuhk_entries(), cuhk_entries()[0]],
        DataError,
        r'entry 24: CUHK01/0001_0\.png is listed twice',
    ),
    'somebody trained and looked for': (
        change(cuhk_entries(), -1, id=3),
        DataError,
        'identity 3 is in train and in test',
    ),
    'another form': ({'annotations': []}, DataError, 'the published file is a list of images'),
    'entries of another form': (['a.png'], DataError, "entry 0: 'a.png' is no object"),
    'no entry': ([], DataError, 'the published file is a list of images'),
}


@pytest.mark.parametrize('wrong', WRONG)
def test_what_is_wrong_is_named(tmp_path, wrong):
    entries, error, message = WRONG[wrong]
    root = write_cuhk(tmp_path)
    (root / 'reid_raw.json').write_text(json.dumps(entries))
    with pytest.raises(error, match=message):
        CUHKPEDES(str(root), 'train')


def test_another_layout(tmp_path):
    with pytest.raises(
        MissingFileError, match=r'no annotation file reid_raw\.json\. CUHK-PEDES'
    ):
        CUHKPEDES(str(tmp_path), 'train')
    with pytest.raises(MissingFileError, match=r'own\.json: no such annotation file'):
        CUHKPEDES(str(tmp_path), 'train', ann_file='own.json')
    Path(tmp_path, 'reid_raw.json').write_text('[{"split": ')
    with pytest.raises(DataError, match='not JSON'):
        CUHKPEDES(str(tmp_path), 'train')


@pytest.mark.parametrize(
    ('content', 'said'),
    [('[' * 100_000, 'not JSON'), ('[{"captions": ["\\ud83d"]}]', 'half a character')],
)
def test_what_json_alone_would_not_refuse_is_named(tmp_path, content, said):
    path = tmp_path / 'reid_raw.json'
    path.write_text(content)
    with pytest.raises(DataError, match=rf'reid_raw\.json: .*{said}'):
        read_descriptions(path, 'the layout')
