"""The table of CAE's README: its figures, what its rows train, and what counts as found."""

import json
import re
from pathlib import Path

import pytest

from saip.checkpoint import file_sha256
from saip.experiments.reproduce import run
from saip.experiments.reproduce.found import Records
from saip.experiments.reproduce.plan import row_steps, weights_file
from saip.experiments.reproduce.report import report_table
from saip.experiments.reproduce.tables import TABLES
from tests.tiny import ROOT

from .reproduce_files import record, settings
from .test_run import TRIAL, parsed

TABLE = TABLES['cae']
ROWS = {row.name: row for row in TABLE.rows}


def cell_of(row, task):
    return next(cell for cell in row.cells if cell.task.name.startswith(task))


def test_figures_are_those_of_the_document_and_of_the_pretrainings():
    """Both have been typed from the README by themselves."""
    section = (ROOT / 'docs/cae.md').read_text().split('## Figures of its README')[1]
    rows = re.findall(r'^\| `(\w\S+\.py)` \| (.+) \|$', section, re.M)
    documented = {name: re.findall(r'\d\d\.\d', figures) for name, figures in rows}
    printed = {
        Path(row.weights.pretraining).name: [cell.paper for cell in row.cells]
        for row in TABLE.rows
    }
    assert printed == documented
    for row in TABLE.rows:
        config = ROOT / 'configs/pretrain' / row.weights.pretraining
        figures = re.findall(r'\b\d\d\.\d\b', config.read_text().split('_base_')[0])
        assert figures == [cell.paper for cell in row.cells], config


@pytest.mark.parametrize('name', ROWS)
def test_every_pretraining_resolves_and_is_of_the_row(name, tmp_path):
    row, one = ROWS[name], settings(tmp_path)
    cfg = one.read_pretraining(row.weights)
    assert cfg.train_cfg.max_epochs == int(row.words[2])
    config = ROOT / 'configs/pretrain' / row.weights.pretraining
    batch = 4096 if name.startswith('mae') else 2048
    assert one.whole_batch(config, cfg) == batch
    assert cfg.model.backbone.get('layer_scale', 0) == float(row.weights.layer_scale or 0)
    assert any(hook.type == 'saip.ExportBackboneHook' for hook in cfg.custom_hooks)
    assert '/IN1K' in str(cfg.train_dataloader.dataset)


# Rate, layer decay, stochastic depth, taken from CAE's code and the number of epochs.
ADE20K = {
    'mae-base-1600e': (1e-4, 0.65, 0.1),
    'mae-large-1600e': (4e-5, 0.95, 0.15),
    'cae-base-300e': (3e-4, 0.65, 0.1),
    'cae-base-800e': (2e-4, 0.65, 0.1),
    'cae-base-1600e': (1e-4, 0.65, 0.1),
    'cae-large-1600e': (4e-5, 0.95, 0.15),
}


@pytest.mark.parametrize('name', ROWS)
def test_dense_trainings_are_those_of_the_row(name, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_LAYER_SCALE', '0.5')  # of somebody else's
    row, one = ROWS[name], settings(tmp_path)
    gain = float(row.weights.layer_scale or 0)
    assert (gain > 0) == name.startswith('cae')
    large = 'large' in name
    for task, expected in (
        ('ade20k', ADE20K[name]),
        ('coco', (2e-4, 0.85, 0.2) if large else (3e-4, 0.75, 0.2)),
    ):
        cfg = one.read_task(cell_of(row, task), row.weights)
        encoder = cfg.model.backbone.encoder
        assert cfg.model.backbone.type == 'saip.TapPyramid'
        assert encoder.arch.embed_dims == (1024 if large else 768)
        assert encoder.get('layer_scale', 0) == gain
        assert encoder.get('relative_position', False) == (task == 'ade20k')
        found = (
            cfg.optim_wrapper.optimizer.lr,
            cfg.optim_wrapper.paramwise_cfg.layer_decay_rate,
            encoder.drop_path_rate,
        )
        assert found == expected, task


@pytest.mark.parametrize('name', ROWS)
def test_fine_tunings_are_those_of_the_row(name, tmp_path):
    row, one = ROWS[name], settings(tmp_path)
    cfg = one.read_task(cell_of(row, 'imagenet'), row.weights)
    large = 'large' in name
    assert cfg.model.backbone.get('layer_scale', 0) == float(row.weights.layer_scale or 0)
    assert cfg.optim_wrapper.optimizer.lr == (2e-3 if large else 8e-3)
    assert cfg.train_cfg.max_epochs == (50 if large else 100)


@pytest.mark.parametrize('options', [{}, TRIAL], ids=['full', 'trial'])
def test_probes_are_commands_that_the_tool_understands(tmp_path, monkeypatch, options):
    one = settings(tmp_path, **options)
    row = ROWS['cae-base-800e']
    for protocol in ('linear', 'attentive'):
        pretraining, probe = row_steps(row, one, protocol)
        assert (pretraining.kind, probe.kind) == ('pretrain', 'probe')
        args = parsed(monkeypatch, list(probe.command))
        assert (args.protocol, args.feature) == (protocol, 'image_token')
        assert args.checkpoint == weights_file(row.weights, one)
        assert args.data == f'{one.data}/imagenet'
        assert args.epochs == (90 if not options else 2)
        assert args.json == probe.makes
        assert args.no_baselines
    names = [step.kind for step in row_steps(row, one)]
    assert names == ['pretrain', 'probe', 'probe', *['finetune', 'test'] * 3]


def test_a_probe_is_found_if_it_was_of_the_weights_there_now(tmp_path):
    one, row = settings(tmp_path), ROWS['cae-base-800e']
    cell = cell_of(row, 'linear')
    none = Records({})
    assert none.of(row, cell, one).value is None
    (step,) = (step for step in row_steps(row, one, 'linear') if step.kind == 'probe')
    file = Path(weights_file(row.weights, one).replace('*', '1a2b3c4d'))
    file.parent.mkdir(parents=True)
    file.write_bytes(b'weights')
    step.makes.parent.mkdir(parents=True)
    scores = {'top-1 at 0.05': 68.0, 'top-1 at 0.1': 69.24, 'top-1 at 0.2': 61.0}
    content = {'sha256': file_sha256(file), 'rows': {'student': scores}}
    step.makes.write_text(json.dumps(content))
    assert none.of(row, cell, one).value == 69.24
    report = report_table(TABLE, one, none)
    line = next(line for line in report.lines if line.name == row.name)
    assert (line.entries[0].found, line.entries[0].better) == ('69.2 (+0.3)', True)
    step.makes.write_text(json.dumps({**content, 'rows': {'student': {}}}))
    shown = none.of(row, cell, one)
    assert shown.value is None
    assert 'the probes have diverged with all rates' in shown.passed_over[0]
    file.write_bytes(b'trained again')
    shown = none.of(row, cell, one)
    assert shown.value is None
    assert 'of other weights than those there now' in shown.passed_over[0]


def test_a_row_is_run_to_its_probes_with_the_file_that_was_exported(tmp_path, monkeypatch):
    one, row = settings(tmp_path), ROWS['cae-large-1600e']
    steps = row_steps(row, one, 'attentive')
    ran = []

    def process(command, work_dir, variables, what):
        ran.append(command)
        step = next(step for step in steps if step.what == what)
        path = Path(str(step.makes).replace('*', '1a2b'))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{}')

    monkeypatch.setattr(run, 'run_training', process)
    run.run_steps(steps, [], one)
    assert len(ran) == 2
    exported = weights_file(row.weights, one).replace('*', '1a2b')
    assert exported.endswith('backbone_epoch_1600-1a2b.pth')
    tool, file = ran[1][1:3]
    assert (Path(tool).name, file) == ('eval_frozen.py', exported)
    run.run_steps(steps, [], one)
    assert len(ran) == 2


def test_a_dense_result_is_shown_in_percent(tmp_path):
    one, row = settings(tmp_path), ROWS['cae-large-1600e']
    for task, metrics in (
        ('ade20k', {'mIoU': 54.86}),
        ('coco', {'coco/bbox_mAP': 0.545, 'coco/segm_mAP': 0.476}),
    ):
        (tmp_path / task).mkdir()
        record(row, cell_of(row, task), one, metrics=metrics).write(tmp_path / task)
    report = report_table(TABLE, one, Records.read([tmp_path]))
    line = next(line for line in report.lines if line.name == row.name)
    found = [entry.found for entry in line.entries[3:]]
    assert found == ['54.9 (+0.0)', '54.5 (+0.0)', '47.6 (+0.1)']
    others = [entry.found for one in report.lines if one is not line for entry in one.entries]
    assert set(others) == {''}
    assert not any('LUP1M' in note for note in report.notes)
