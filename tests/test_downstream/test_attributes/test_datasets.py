"""PA-100K and PETA's zero-shot split: labels, images, and what is wrong with a folder."""

import json

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from saip.datasets.crops import DataError
from saip.downstream.attributes.published import convert_petazs
from saip.registry import DATASETS
from saip.synthetic.formats import write_pa100k as write_native_pa100k
from saip.synthetic.formats import write_peta as write_native_peta
from saip.synthetic.formats.base import APART
from saip.synthetic.formats.peta import peta_attributes
from saip.synthetic.formats.portraits import draw_portrait
from saip.synthetic.scene.appearance import Appearance
from tests.test_downstream.test_attributes.attribute_files import (
    PA100K_NAMES,
    PETA_NAMES,
    cells,
    pa100k_variables,
    random_labels,
    write_pa100k,
    write_peta,
)


def pa100k(root, split='train', **options):
    return DATASETS.build(dict(type='saip.PA100K', data_root=str(root), split=split, **options))


def peta(root, split='train'):
    return DATASETS.build(dict(type='saip.PETAZeroShot', data_root=str(root), split=split))


def records(data):
    found = [data.get_data_info(i) for i in range(len(data))]
    paths = [record['img_path'] for record in found]
    return paths, np.array([record['gt_score'] for record in found])


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_pa100k_is_what_the_mat_file_says(tmp_path, split):
    mat = write_pa100k(tmp_path)
    data = pa100k(tmp_path, split)
    paths, labels = records(data)
    names = mat[f'{split}_images_name'][:, 0]
    assert paths == [str(tmp_path / 'data' / name) for name in names]
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, mat[f'{split}_label'])
    assert data.metainfo['classes'] == PA100K_NAMES


def test_trainval_is_both_parts_and_states_their_ratio(tmp_path):
    mat = write_pa100k(tmp_path)
    data = pa100k(tmp_path, 'trainval')
    paths, labels = records(data)
    both = np.concatenate([mat['train_label'], mat['val_label']])
    assert [path[-10:] for path in paths] == [f'{number:06d}.jpg' for number in range(1, 10)]
    np.testing.assert_array_equal(labels, both)
    share = [sum(int(v) for v in both[:, j]) / 9 for j in range(26)]
    assert data.metainfo['positive_ratio'] == pytest.approx(share)
    assert share[-1] == 0


def test_label_2_is_unknown_and_counts_as_absent(tmp_path):
    labels = random_labels(6, 26, 0)
    labels[1, 4] = 2
    write_pa100k(tmp_path, train_label=labels)
    data = pa100k(tmp_path)
    assert data.get_data_info(1)['gt_score'][4] == 0
    assert data.metainfo['positive_ratio'][4] == np.mean(labels[:, 4] == 1)


def test_samples_have_scores_that_mmpretrain_understands(tmp_path):
    mat = write_pa100k(tmp_path)
    pipeline = [dict(type='LoadImageFromFile'), TRANSFORMS.build(dict(type='PackInputs'))]
    sample = pa100k(tmp_path, 'test', pipeline=pipeline)[2]
    assert sample['inputs'].shape == (3, 48, 20)
    assert sample['data_samples'].gt_score.tolist() == mat['test_label'][2].tolist()


@pytest.mark.parametrize(('split', 'rows'), [('trainval', range(9)), ('test', range(9, 14))])
def test_peta_is_what_the_converted_file_says(tmp_path, split, rows):
    content = write_peta(tmp_path)
    data = peta(tmp_path, split)
    paths, labels = records(data)
    chosen = [content['data_list'][i] for i in rows]
    assert paths == [str(tmp_path / 'images' / entry['img_path']) for entry in chosen]
    assert labels.tolist() == [entry['gt_score'] for entry in chosen]
    assert data.metainfo['classes'] == PETA_NAMES


def test_a_missing_file_is_named_with_the_right_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation\.mat: .* data/000001\.jpg'):
        pa100k(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'peta_zs\.json: .*make_petazs\.py makes from'):
        peta(tmp_path)


def test_a_missing_folder_or_image_is_named(tmp_path):
    write_pa100k(tmp_path)
    (tmp_path / 'data' / '000012.jpg').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'data/000012\.jpg: no such file, and 1 of the 5 .*PA-100K is'
    ):
        pa100k(tmp_path, 'test')
    assert len(pa100k(tmp_path, 'trainval')) == 9
    (tmp_path / 'data').rename(tmp_path / 'release_data')
    with pytest.raises(
        FileNotFoundError, match=r'/data: no such folder, .*PA-100K is a folder with'
    ):
        pa100k(tmp_path)
    assert len(pa100k(tmp_path, data_prefix='release_data')) == 6


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path):
    write_pa100k(tmp_path)
    with pytest.raises(ValueError, match="split='valid': choose 'train', 'val', 'trainval'"):
        pa100k(tmp_path, 'valid')


LABELS = pa100k_variables()['train_label']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'train_label': LABELS[:, 1:]},
            r'train_label has labels for 25 attributes; this data set has 26',
        ),
        ({'train_label': cells(['none'])}, r'train_label holds no numbers'),
        ({'train_label': LABELS * 1j}, r'variable train_label: an array of class 6 .*real'),
        ({'attributes': np.ones((26, 1))}, r'attributes: holds no cells'),
        ({'attributes': cells(['Hat'])}, r'1 attributes and labels for 26'),
        ({'train_label': LABELS[:4]}, r'train_label has shape \(4, 26\), .* names 6 images'),
        ({'train_label': LABELS + 7}, r'000001\.jpg has label .* for Female; allowed are 0'),
        ({'train_label': None}, r'no variable train_label; .* <part>_images_name'),
        ({'train_images_name': cells(range(6))}, r'train_images_name: cell 1 holds .*not one'),
    ],
)
def test_wrong_variables_are_named(tmp_path, changes, message):
    write_pa100k(tmp_path, **changes)
    with pytest.raises(DataError, match=rf'annotation\.mat.*{message}'):
        pa100k(tmp_path)


def test_a_file_that_is_no_mat_file_is_named(tmp_path):
    write_pa100k(tmp_path)
    (tmp_path / 'annotation.mat').write_bytes(b'<html>too many downloads</html>' * 10)
    with pytest.raises(DataError, match=r'annotation\.mat: not a MATLAB file'):
        pa100k(tmp_path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c['data_list'][0].pop('split'), r'data_list\[0\]: unknown split None'),
        (lambda c: c['data_list'][2].update(split=7), r'data_list\[2\]: unknown split 7'),
        (lambda c: c['data_list'][2].update(split=['val']), r"\[2\]: unknown split \['val'\]"),
        (
            lambda c: c['data_list'].insert(1, 'image'),
            r"data_list\[1\] is 'image', not an object",
        ),
        (lambda c: c['data_list'][0].update(img_path='a\0b'), r'data_list\[0\] has img_path'),
        (
            lambda c: c['data_list'][1].update(gt_score=3),
            r'data_list\[1\] .*gt_score has 3; a list',
        ),
        (
            lambda c: c['data_list'][1]['gt_score'].__setitem__(4, [1]),
            r'data_list\[1\] \(00002.png\): gt_score\[4\] is \[1\]; allowed are 0',
        ),
        (lambda c: c['metainfo'].update(attributes='all'), 'not such a file'),
        (
            lambda c: c['data_list'][0].update(split='query'),
            "unknown split 'query'; allowed: tr",
        ),
        (
            lambda c: c['data_list'][0]['gt_score'].pop(),
            r'\[0\] \(00001.png\): gt_score has 34 values',
        ),
        (lambda c: c['metainfo']['attributes'].pop(), '34 attributes and labels for 35'),
        (lambda c: c.update(data_list=c['data_list'][-1:]), 'names no image of this split'),
    ],
)
def test_a_wrong_json_file_is_named(tmp_path, change, message):
    content = write_peta(tmp_path)
    change(content)
    (tmp_path / 'peta_zs.json').write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf'peta_zs\.json: .*{message}'):
        peta(tmp_path)


def test_a_broken_image_is_an_error_in_evaluation(tmp_path):
    write_pa100k(tmp_path)
    (tmp_path / 'data' / '000010.jpg').write_text('text')
    with pytest.raises(DataError, match=r'PA100K: 1 of the 5 images .*/000010\.jpg \(not an'):
        pa100k(tmp_path, 'test')


def test_drawn_people_are_read_as_the_published_sets_are(tmp_path):
    assert write_native_pa100k(tmp_path / 'PA100K')
    assert write_native_peta(tmp_path / 'PETA')
    convert_petazs(tmp_path / 'PETA/dataset_zs_run0.pkl', tmp_path / 'PETA/peta_zs.json')
    assert [len(pa100k(tmp_path / 'PA100K', split)) for split in ('trainval', 'test')] == [
        32,
        12,
    ]
    assert [len(peta(tmp_path / 'PETA', split)) for split in ('trainval', 'test')] == [32, 8]
    names = peta(tmp_path / 'PETA').metainfo['classes']
    assert (names[0], names[-1]) == ('accessoryHat', 'personalMale')
    for record in peta(tmp_path / 'PETA', 'test'):
        number = int(record['img_path'][-9:-4]) - 1
        portrait = draw_portrait(0, 2 * APART + number // 2, number % 2, (96, 128))
        drawn = peta_attributes(Appearance(portrait, portrait.main))
        assert record['gt_score'].tolist() == [drawn[name] for name in names]
