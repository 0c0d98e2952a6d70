"""The published pickle becomes JSON, without running anything that it asks for."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from saip.downstream.attributes.published import convert_petazs
from saip.registry import DATASETS
from tests.test_downstream.test_attributes.attribute_files import (
    draw,
    random_labels,
    write_easydict_pickle,
)
from tests.tiny import ROOT

NAMES = [f'{i + 1:05d}.png' for i in range(8)]
ROWS = {'train': [5, 0, 2], 'val': [7], 'test': [1, 3, 4, 6]}


def published(labels, **label_idx):
    parts = {part: np.array(rows) for part, rows in ROWS.items()}
    parts['trainval'] = np.concatenate([parts['train'], parts['val']])
    fields = {
        'description': 'peta',
        'root': '/data/PETA/images',
        'image_name': NAMES,
        'label': labels,
        'attr_name': [f'name{i}' for i in range(labels.shape[1])],
        'partition': parts,
        'weight_train': labels.mean(0).astype(np.float32),
    }
    return fields | ({'label_idx': label_idx} if label_idx else {})


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_the_split_of_the_pickle_is_the_one_of_the_data_set(tmp_path, protocol):
    labels = random_labels(8, 35, 0)
    write_easydict_pickle(tmp_path / 'run0.pkl', published(labels), protocol)
    if protocol == 3:  # the published file was written by Python 3.7 with numpy 1
        content = (tmp_path / 'run0.pkl').read_bytes()
        old = content.replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
        assert b'numpy.core' in old
        (tmp_path / 'run0.pkl').write_bytes(old)
    counts = convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'peta_zs.json')
    assert counts == {'train': 3, 'val': 1, 'test': 4}
    draw(tmp_path / 'images', NAMES)
    data = DATASETS.build(
        dict(type='saip.PETAZeroShot', data_root=str(tmp_path), split='trainval')
    )
    found = {r['img_path'][-9:]: r['gt_score'].tolist() for r in data}
    wanted = {NAMES[row]: labels[row].tolist() for row in (5, 0, 2, 7)}
    assert found == wanted


def test_only_evaluated_attributes_are_kept_and_unknown_ones_are_absent(tmp_path):
    labels = random_labels(8, 105, 1)
    labels[5, 16] = 2
    order = [10, 18, 16, 0]
    fields = published(labels, eval=order, color=list(range(35, 79)), extra=range(79, 105))
    write_easydict_pickle(tmp_path / 'run0.pkl', fields, 4)
    convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')
    content = json.loads((tmp_path / 'out.json').read_text())
    assert content['metainfo']['attributes'] == ['name10', 'name18', 'name16', 'name0']
    first = content['data_list'][0]
    assert first['img_path'] == NAMES[5]
    assert first['gt_score'] == [labels[5, 10], labels[5, 18], 0, labels[5, 0]]


def test_of_several_splits_the_first_is_taken(tmp_path):
    fields = published(random_labels(8, 35, 0))
    parts = {part: [np.array(rows), np.array([0])] for part, rows in ROWS.items()}
    write_easydict_pickle(tmp_path / 'run0.pkl', fields | {'partition': parts}, 3)
    counts = convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')
    assert counts == {'train': 3, 'val': 1, 'test': 4}


def test_names_of_python_2_are_texts_and_a_column_counts_once(tmp_path):
    fields = published(random_labels(8, 35, 0), eval=[3, 1])
    fields['image_name'] = np.array([name.encode() for name in NAMES])
    write_easydict_pickle(tmp_path / 'run0.pkl', fields, 2)
    convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')
    content = json.loads((tmp_path / 'out.json').read_text())
    assert content['data_list'][0]['img_path'] == NAMES[5]
    fields = published(random_labels(8, 35, 0), eval=[3, 1, 3])
    write_easydict_pickle(tmp_path / 'run0.pkl', fields, 2)
    with pytest.raises(ValueError, match=r'label_idx\.eval has a column twice'):
        convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')


class Touch:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    fields = published(random_labels(8, 35, 0)) | {'description': Touch(tmp_path / 'touched')}
    write_easydict_pickle(tmp_path / 'run0.pkl', fields, 4)
    with pytest.raises(ValueError, match=r'run0\.pkl: refused: it asks for .*open'):
        convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run0.pkl']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'partition': {'train': np.array([0])}}, 'not the published split .*val'),
        ({'label': np.zeros((8, 34), int)}, r'label has shape \(8, 34\), .* 35 attributes'),
        ({'partition': dict(ROWS, test=[0])}, 'in more than one part'),
        ({'partition': dict(ROWS, test=[8])}, r'rows 0 to 8; there are 8'),
    ],
)
def test_content_that_does_not_fit_is_refused(tmp_path, change, message):
    fields = published(random_labels(8, 35, 0)) | change
    if 'test' in fields['partition']:
        rows = {part: np.array(value) for part, value in fields['partition'].items()}
        fields['partition'] = rows
    write_easydict_pickle(tmp_path / 'run0.pkl', fields, 4)
    with pytest.raises(ValueError, match=message):
        convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')


@pytest.mark.parametrize('content', [b'', b'no pickle', pickle.dumps([1, 2])])
def test_another_file_is_named(tmp_path, content):
    (tmp_path / 'run0.pkl').write_bytes(content)
    with pytest.raises(ValueError, match=r'run0\.pkl: '):
        convert_petazs(tmp_path / 'run0.pkl', tmp_path / 'out.json')


@pytest.mark.slow
def test_the_tool_converts_and_names_a_missing_file(tmp_path):
    write_easydict_pickle(tmp_path / 'run0.pkl', published(random_labels(8, 35, 0)), 4)
    tool = [sys.executable, str(ROOT / 'tools/dataset_converters/make_petazs.py')]
    for source, status, text in (('run0.pkl', 0, '3 train, 1 val'), ('no.pkl', 2, 'no such')):
        done = subprocess.run(
            [*tool, source, 'out.json'],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == status
        assert text in done.stdout + done.stderr
