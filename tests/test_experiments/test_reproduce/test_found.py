"""A record is shown in the row whose configuration, weights and data it has, and in no other."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from saip.experiments.reproduce.found import Records
from saip.experiments.reproduce.plan import weights_file
from saip.experiments.reproduce.report import report_table
from saip.experiments.reproduce.tables import TABLES

from .reproduce_files import record, settings

TABLE = TABLES['table6']
ROW = TABLE.find('1')
CELL = ROW.cells[0]  # Market-1501
KEY = 'model.backbone.init_cfg.checkpoint'


def found(tmp_path, record_, one=None, row=ROW, cell=CELL):
    record_.write(tmp_path / 'work')
    return Records.read([tmp_path / 'work']).of(row, cell, one or settings(tmp_path))


def test_the_result_of_a_row_is_shown_in_percent(tmp_path):
    one = settings(tmp_path)
    test = record(ROW, CELL, one, metrics={'reid/Rank-1': 93.14, 'reid/mAP': 85.0})
    shown = found(tmp_path, test)
    assert shown.value == pytest.approx(93.14)
    assert (shown.remarks, shown.passed_over) == ((), ())
    report = report_table(TABLE, one, Records.read([tmp_path / 'work']))
    entry = report.lines[3].entries[0]
    assert (entry.paper, entry.found, entry.better) == ('93.6', '93.1 (-0.5)', False)
    others = [line.entries[0].found for line in report.lines[:3]]
    assert others == ['', '', '']


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        (dict(configs=['0' * 64]), 'trained with another configuration'),
        (dict(configs=['unknown', 'x']), 'trained with another configuration'),
        (dict(schedule=0.02), '2% of the schedule, not 100%'),
        (dict(batch=32), 'a batch of 32, not 64'),
        (dict(data='/people/Market1501'), 'on /people/Market1501, not '),
        (dict(evaluation='0' * 64), 'evaluated with another configuration'),
        (dict(epoch=60), 'epoch 60 was tested, not the last, 120'),
        (dict(metrics={'reid/mAP': 1.0}), 'has no reid/Rank-1, but reid/mAP'),
    ],
)
def test_results_of_other_settings_are_not_shown_and_say_why(tmp_path, changes, reason):
    shown = found(tmp_path, record(ROW, CELL, settings(tmp_path), **changes))
    assert shown.value is None
    assert reason in shown.passed_over[0]


@pytest.mark.parametrize(
    'weights',
    [
        [],
        [{'key': KEY, 'sha256': 'f' * 64, 'epoch': 300, 'trained': None}],
        [
            {
                'key': KEY,
                'sha256': 'f' * 64,
                'epoch': 300,
                'trained': {'configs': ['0' * 64], 'batch': 2048},
            }
        ],
    ],
)
def test_results_of_other_weights_are_another_rows(tmp_path, weights):
    shown = found(tmp_path, record(ROW, CELL, settings(tmp_path), weights=weights))
    assert shown.value is None


@pytest.mark.parametrize(('epoch', 'batch'), [(200, 2048), (300, 256)])
def test_an_earlier_backbone_or_another_batch_is_another_weight(tmp_path, epoch, batch):
    test = record(ROW, CELL, settings(tmp_path))
    assert test.trained
    (file,) = test.trained['weights']
    weights = [{**file, 'epoch': epoch, 'trained': {**file['trained'], 'batch': batch}}]
    assert found(tmp_path, record(ROW, CELL, settings(tmp_path), weights=weights)).value is None


TEXT = {'key': 'model.text.init_cfg.checkpoint', 'file': 'text.pth', 'sha256': 'e' * 64}


@pytest.mark.parametrize(
    ('added', 'remark'),
    [([TEXT], 'text transformer from text.pth'), ([], 'text transformer from random weights')],
)
def test_a_row_of_text_reid_says_where_its_text_began(tmp_path, monkeypatch, added, remark):
    monkeypatch.delenv('SAIP_TEXT_INIT', raising=False)
    one, row = settings(tmp_path), TABLES['table1'].find('saip_vit-tiny-p16')
    cell = next(cell for cell in row.cells if cell.task.name == 'cuhk-pedes')
    own = record(row, cell, one).trained['weights']
    shown = found(tmp_path, record(row, cell, one, weights=[*own, *added]), one, row, cell)
    assert shown.value == 0.5
    assert shown.remarks == (remark,)
    file = tmp_path / 'text.pth'
    file.write_bytes(b'another')
    monkeypatch.setenv('SAIP_TEXT_INIT', str(file))
    again = Records.read([tmp_path / 'work']).of(row, cell, one)
    if added:
        assert again.value is None
        assert 'another text.pth than SAIP_TEXT_INIT' in again.passed_over[0]
    else:
        assert again.remarks == (remark,)


def test_a_training_that_began_with_more_than_the_encoder_is_no_rows(tmp_path):
    one = settings(tmp_path)
    own = record(ROW, CELL, one).trained['weights']
    more = [*own, {'key': 'load_from', 'file': 'x.pth', 'sha256': 'd' * 64}]
    assert found(tmp_path, record(ROW, CELL, one, weights=more)).value is None


def test_a_pretraining_done_anew_or_another_expert_is_another_beginning(tmp_path, monkeypatch):
    one, row = settings(tmp_path), TABLES['table1'].find('saip-star_vit-tiny-p16')
    cell = row.cells[0]
    for name in ('expert.pth', 'other.pth'):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.setenv('SAIP_EXPERT', str(tmp_path / 'expert.pth'))
    (file,) = record(row, cell, one).trained['weights']
    expert = {
        'key': 'model.expert.init_cfg.checkpoint',
        'file': 'expert.pth',
        'sha256': sha256(b'expert.pth').hexdigest(),
    }
    begun = file | {'trained': file['trained'] | {'weights': [expert]}}
    test = record(row, cell, one, weights=[begun])
    assert found(tmp_path, test, one, row, cell).value == 0.5
    monkeypatch.setenv('SAIP_EXPERT', str(tmp_path / 'other.pth'))
    shown = found(tmp_path, test, one, row, cell)
    assert 'another expert.pth than SAIP_EXPERT' in shown.passed_over[0]
    monkeypatch.setenv('SAIP_EXPERT', str(tmp_path / 'expert.pth'))
    path = Path(weights_file(row.weights, one).replace('*', '1a2b3c4d'))
    path.parent.mkdir(parents=True)
    path.write_bytes(b'trained again')
    shown = found(tmp_path, test, one, row, cell)
    assert 'began with another b.pth than' in shown.passed_over[0]


def test_a_checkpoint_that_says_nothing_is_nobodys(tmp_path):
    silent = replace(record(ROW, CELL, settings(tmp_path)), trained=None)
    assert found(tmp_path, silent).value is None


def test_a_validation_is_progress_and_no_result(tmp_path):
    val = record(ROW, CELL, settings(tmp_path), phase='val', epoch=60, checkpoint='')
    shown = found(tmp_path, replace(val, metrics={'reid/Rank-1': 85.06}))
    assert shown.value is None
    assert shown.progress == 'epoch 60 of 120: 85.1 in validation'


def test_shortened_schedules_are_shown_where_they_are_asked_for(tmp_path):
    short = settings(tmp_path, schedule=0.02)
    shown = found(tmp_path, record(ROW, CELL, short, drawn=True, processes=2), short)
    assert shown.value == 0.5
    assert shown.remarks == ('people drawn by code', '2% of the schedule', '2 processes')
    assert found(tmp_path, record(ROW, CELL, short), settings(tmp_path)).value is None
    report = report_table(TABLE, short, Records.read([tmp_path / 'work']))
    assert report.marks == {'schedule': '0.02 of every schedule'}


def test_other_options_are_other_settings(tmp_path):
    options = ('optim_wrapper.optimizer.lr=0.001',)
    other = settings(tmp_path, options=options)
    test = record(ROW, CELL, other)
    assert found(tmp_path, test, other).value == 0.5
    assert found(tmp_path, test).value is None


def test_random_weights_and_published_ones(tmp_path):
    one = settings(tmp_path)
    none, supervised = (TABLES['table4'].find(name) for name in ('none', 'supervised'))
    test = record(none, CELL, one)
    assert found(tmp_path, test, one, none).value == 0.5
    assert found(tmp_path, test, one, supervised).value is None
    file = tmp_path / 'data/weights/supervised_vit-tiny-p16.pth'
    file.parent.mkdir(parents=True)
    file.write_bytes(b'weights')
    digest = sha256(b'weights').hexdigest()
    files = [{'key': KEY, 'sha256': digest, 'epoch': None, 'trained': None}]
    shown = found(tmp_path, record(supervised, CELL, one, weights=files), one, supervised)
    assert shown.value == 0.5


def test_of_a_set_with_a_validation_part_the_best_is_tested(tmp_path):
    row = TABLES['table7'].find('saip')
    cell = next(cell for cell in row.cells if cell.task.name == 'chimpact')
    one = settings(tmp_path)
    shown = found(tmp_path, record(row, cell, one, metrics={'coco/AP': 0.1823}), one, row, cell)
    assert shown.value == pytest.approx(18.23)
    last = record(row, cell, one, checkpoint='epoch_210.pth')
    (tmp_path / 'other').mkdir()
    last.write(tmp_path / 'other')
    passed = Records.read([tmp_path / 'other']).of(row, cell, one).passed_over
    assert passed[0].endswith('epoch_210.pth was tested, not the best of the validation')


def test_options_of_one_task_leave_the_others_of_the_table_out(tmp_path):
    """--run of one task with its own options ends with the whole table."""
    table = TABLES['cae']
    row = next(r for r in table.rows if any(c.task.name == 'imagenet' for c in r.cells))
    one = settings(tmp_path, options=('model.head.num_classes=8',))
    for cell in row.cells:
        if not cell.task.protocol:
            record(row, cell, settings(tmp_path)).write(tmp_path / 'work')
    report = report_table(table, one, Records.read([tmp_path / 'work']))
    line = next(x for x in report.lines if x.name == row.name)
    commands = ' '.join(map(str, line.steps))
    assert 'finetune_imagenet.py' in commands
    assert 'mask-rcnn_coco.py' not in commands
    assert any('has not the keys of --cfg-options' in x for x in line.passed_over)
