"""An evaluator compares with the annotations that its data set reads."""

import pytest
from mmengine.config import Config

from saip.engine.preflight import ConflictError, check_evaluated_files


def config(dataset, evaluator):
    return Config(dict(val_dataloader=dict(dataset=dataset), val_evaluator=evaluator))


@pytest.mark.parametrize(
    ('dataset', 'evaluator'),
    [
        (dict(ann_file='a.json', data_root='d'), dict(ann_file='d/a.json')),
        (dict(ann_file='a.json', data_root='d/'), dict(ann_file='./d//a.json')),
        (dict(ann_file='/d/a.json', data_root='e'), dict(ann_file='/d/a.json')),
        (dict(ann_file='a.json'), dict(ann_file='a.json')),
        (dict(ann_file='a.json'), [dict(ann_file='a.json'), dict(type='Other')]),
        (dict(ann_file='a.json'), dict(type='Other')),
        (dict(ann_file='', data_root='d'), dict(ann_file='a.json')),
        (dict(datasets=[]), dict(ann_file='a.json')),
    ],
)
def test_one_file(dataset, evaluator):
    check_evaluated_files(config(dataset, evaluator), 'val')


def test_without_a_validation():
    check_evaluated_files(Config(dict(val_dataloader=None, val_evaluator=None)), 'val')


def test_one_file_by_two_names(tmp_path):
    (tmp_path / 'linked.json').symlink_to(tmp_path / 'a.json')
    dataset = dict(ann_file='linked.json', data_root=str(tmp_path))
    check_evaluated_files(config(dataset, dict(ann_file=str(tmp_path / 'a.json'))), 'val')


@pytest.mark.parametrize(
    ('evaluator', 'key'),
    [
        (dict(ann_file='d/b.json'), 'val_evaluator'),
        ([dict(type='Other'), dict(ann_file='d/b.json')], r'val_evaluator\.1'),
    ],
)
def test_two_files(evaluator, key):
    cfg = config(dict(ann_file='a.json', data_root='d'), evaluator)
    with pytest.raises(
        ConflictError,
        match=rf'val_dataloader\.dataset\.ann_file is d/a\.json, but {key}\.ann_file d/b\.json:',
    ):
        check_evaluated_files(cfg, 'val')


@pytest.mark.parametrize(
    ('evaluator', 'warned'),
    [
        (dict(ann_file='a.json'), True),
        (dict(type='Other'), False),
        (dict(type='saip.FashionpediaMetric', ann_file='a.json'), False),
    ],
)
def test_a_part_of_the_images_is_warned_of_where_the_whole_file_counts(
    evaluator, warned, capsys
):
    cfg = config(dict(ann_file='a.json', indices=2), evaluator)
    check_evaluated_files(cfg, 'val')
    said = capsys.readouterr().err
    assert ('val_dataloader.dataset.indices=2 takes a part of the images' in said) is warned
