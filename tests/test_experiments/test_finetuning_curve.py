"""Fine-tunings from every exported backbone of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from saip.checkpoint import load_checkpoint_file
from saip.experiments.exported_backbones import find_exported_backbones
from saip.experiments.finetune_job import Task
from saip.experiments.finetuning import finetuning_curve
from saip.visualization.curves import read_last_validation
from tests.test_experiments.exported_files import REID, export, four_blocks, reid_options
from tests.tiny import ROOT
from tests.tools import call_tool

TOOL = ROOT / 'tools/analysis_tools/epoch_curve.py'


# The training only writes down how it was started.
TASK = """
backbone_name = '{{$SAIP_BACKBONE:none}}'
model = dict(backbone=dict(init_cfg=dict(checkpoint='{{$SAIP_INIT:none}}')))
train_cfg = dict(by_epoch=True, max_epochs=2)
val_dataloader = dict(batch_size=1, dataset=dict(data_root='{{$SAIP_DATA:data}}/set'))
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
"""

TRAINING = """
import json, os, re, sys
from pathlib import Path
folder = Path(sys.argv[sys.argv.index('--work-dir') + 1], '20260101', 'vis_data')
folder.mkdir(parents=True)
epoch = int(re.search(r'epoch_(\\d+)', os.environ['SAIP_INIT']).group(1))
with open(Path(__file__).with_name('calls.txt'), 'a') as calls:
    print(os.environ['SAIP_BACKBONE'], epoch, *sys.argv[1:], file=calls)
if os.environ.get('BREAK_AT') == str(epoch):
    print('warning: the disk is nearly full\\ntrain.py: error: the disk is full\\nbye')
    sys.exit(2)
score = dict(val_score=epoch / 4, images=8, data_time=0.1, time=0.2)
lines = [
    dict(lr=0.1, loss=9.0, time=0.2, epoch=1, iter=3, step=3),
    {**score, 'val_score': 0.0, 'step': 1},
    dict(diagnostic=1.0, step=7),
    {**score, 'step': int(os.environ.get('LAST_VALIDATION', 2))},
    dict(lr=0.1, loss=8.0, time=0.2, epoch=2, iter=6, step=6),
]
text = ''.join(json.dumps(line) + '\\n' for line in lines)
(folder / 'scalars.json').write_text(text + '{"val_score": 1')
"""


@pytest.fixture
def task(tmp_path) -> Task:
    (tmp_path / 'task.py').write_text(TASK)
    (tmp_path / 'train.py').write_text(TRAINING)
    return Task(str(tmp_path / 'task.py'), [], 1, tmp_path)


def calls(task: Task) -> list[list[str]]:
    path = task.tools / 'calls.txt'
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_each_backbone_is_fine_tuned_once(run_dir, task, fragments, capsys):
    options = ['optim_wrapper.optimizer.lr=0.5', 'train_cfg.max_epochs=2']
    task = Task(task.config, options, 1, task.tools)
    table, image = finetuning_curve(run_dir, task, fragments)
    folder = run_dir / 'epoch_curve/task'
    exports = find_exported_backbones(run_dir)[1]
    assert calls(task) == [
        [
            *('tiny', str(e.epoch), task.config, '--work-dir', str(folder / e.path.stem)),
            *('--resume', 'auto', '--cfg-options', *options),
        ]
        for e in exports
    ]
    # The last validation, not an earlier one, and neither training nor diagnostics.
    record = json.loads((run_dir / 'epoch_curve/task.json').read_text())
    metrics = [point['metrics'] for point in record['points']]
    assert metrics == [{'val_score': e / 4, 'images': 8} for e in (20, 100)]
    assert table.splitlines()[0].split() == ['epoch', 'val_score', 'backbone']
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [['20', '5'], ['100', '25']]
    Image.open(image).verify()
    progress = capsys.readouterr().err.splitlines()
    assert [line.split(':')[0] for line in progress] == [
        *('[1/2] epoch 20', '[1/2] epoch 20', '[2/2] epoch 100', '[2/2] epoch 100')
    ]
    assert progress[-1].endswith('done, 0:00:00 left')

    # Another metric of the same fine-tunings, and a new backbone of a run that goes on.
    export(run_dir, 150)
    table, _ = finetuning_curve(run_dir, task, fragments, metric='images')
    assert [call[1] for call in calls(task)] == ['20', '100', '150']
    assert [line.split()[0] for line in table.splitlines()[1:]] == ['20', '100', '150']

    # A file whose fine-tuning is done may be removed; one with other weights is another.
    exports[0].path.unlink()
    exports[0].path.with_suffix('.safetensors').unlink()
    export(run_dir, 100, seed=8)
    for path in (run_dir / 'backbones').glob('*'):
        os.utime(path, (2e9, 2e9 + (exports[1].path.stem not in path.name)))
    finetuning_curve(run_dir, task, fragments)
    assert [call[1] for call in calls(task)] == ['20', '100', '150', '100']
    record = json.loads((run_dir / 'epoch_curve/task.json').read_text())
    assert [point['epoch'] for point in record['points']] == [20, 100, 150]
    assert record['points'][1]['tensors_sha256'] != exports[1].digest


def test_what_was_stopped_is_continued(run_dir, task, fragments, monkeypatch):
    monkeypatch.setenv('BREAK_AT', '100')
    message = (
        r'backbone_epoch_100-\w+\.pth: fine-tuning stopped with status 2: train\.py: error: the '
        r'disk is full \(all of it in .*backbone_epoch_100-\w+/output\.txt\)'
    )
    with pytest.raises(RuntimeError, match=message):
        finetuning_curve(run_dir, task, fragments)
    record = json.loads((run_dir / 'epoch_curve/task.json').read_text())
    assert [point['epoch'] for point in record['points']] == [20]
    monkeypatch.delenv('BREAK_AT')
    for folder in (run_dir / 'epoch_curve/task').glob('*_100-*/20260101/vis_data'):
        folder.rmdir()
    finetuning_curve(run_dir, task, fragments)
    assert [call[1] for call in calls(task)] == ['20', '100', '100']
    record = json.loads((run_dir / 'epoch_curve/task.json').read_text())
    assert [point['epoch'] for point in record['points']] == [20, 100]


def test_a_training_that_was_killed_has_no_error_of_an_earlier_attempt(
    run_dir, task, fragments
):
    script = task.tools / 'train.py'
    script.write_text('print("x: error: old")\nraise SystemExit(1)')
    with pytest.raises(RuntimeError, match='status 1: x: error: old'):
        finetuning_curve(run_dir, task, fragments)
    script.write_text('import os\nos.kill(os.getpid(), 9)')
    with pytest.raises(RuntimeError, match='status -9: nothing was printed'):
        finetuning_curve(run_dir, task, fragments)


def test_the_validation_has_to_be_the_last_epochs(run_dir, task, fragments, monkeypatch):
    monkeypatch.setenv('LAST_VALIDATION', '1')
    with pytest.raises(RuntimeError, match='last validation is of epoch 1 and not 2; remove'):
        finetuning_curve(run_dir, task, fragments)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (None, r'task\.py: no such configuration file'),
        ('model = dict(backbone=dict())', 'does not begin with the weights of SAIP_INIT'),
        ('train_cfg = dict(max_iters=9)', r'has no train_cfg\.max_epochs'),
        ('val_dataloader = None', 'has no val_dataloader'),
        ("visualizer = dict(type='Visualizer')", 'has no LocalVisBackend'),
        ('modle = dict()', "did you mean 'model'"),
    ],
)
def test_a_task_that_cannot_give_a_curve_is_refused(run_dir, task, fragments, line, message):
    if line is None:
        Path(task.config).unlink()
    else:
        Path(task.config).write_text(f'{TASK}{line}\n')
    with pytest.raises((RuntimeError, ValueError), match=message):
        finetuning_curve(run_dir, task, fragments)
    assert not calls(task)


def test_options_are_key_and_value(run_dir, task, fragments):
    task = Task(task.config, ['lr'], 1, task.tools)
    with pytest.raises(ValueError, match='--cfg-options lr: KEY=VALUE is needed'):
        finetuning_curve(run_dir, task, fragments)


def test_points_of_other_settings_are_not_mixed(
    run_dir, task, fragments, monkeypatch, tmp_path
):
    finetuning_curve(run_dir, task, fragments)
    other = Task(task.config, ['randomness.seed=1'], 1, task.tools)
    with pytest.raises(ValueError, match=r'options=\[\], and now it is \[.randomness.*--out'):
        finetuning_curve(run_dir, other, fragments)
    monkeypatch.setenv('SAIP_SCHEDULE', '0.5')
    with pytest.raises(ValueError, match=r'schedule=1\.0, and now it is 0\.5'):
        finetuning_curve(run_dir, task, fragments)
    assert len(calls(task)) == 2
    finetuning_curve(run_dir, task, fragments, out=tmp_path / 'half')
    assert len(calls(task)) == 4
    (tmp_path / 'half/task.json').write_text('{')
    with pytest.raises(ValueError, match=r'task\.json: no record of a curve; remove it'):
        finetuning_curve(run_dir, task, fragments, out=tmp_path / 'half')


def test_points_of_other_data_are_not_mixed(run_dir, task, fragments, monkeypatch, tmp_path):
    finetuning_curve(run_dir, task, fragments)
    monkeypatch.setenv('SAIP_DATA', str(tmp_path / 'other'))
    message = rf'data=data, and now it is {tmp_path}/other; choose another folder with --out'
    with pytest.raises(ValueError, match=message):
        finetuning_curve(run_dir, task, fragments)
    assert len(calls(task)) == 2
    finetuning_curve(run_dir, task, fragments, out=tmp_path / 'out')
    assert len(calls(task)) == 4


@pytest.mark.parametrize(
    'change',
    [
        'train_dataloader = dict(batch_size=2)',
        "val_dataloader['dataset'] = dict(data_root='{{$SAIP_ELSEWHERE:data}}')",
        'randomness = dict(seed=None)',
    ],
)
def test_points_of_an_edited_configuration_are_not_mixed(run_dir, task, fragments, change):
    finetuning_curve(run_dir, task, fragments)
    Path(task.config).write_text(f'{TASK}{change}\n')
    message = r'task\.json: the configuration .*/task\.py says something else .* with --out'
    with pytest.raises(ValueError, match=message):
        finetuning_curve(run_dir, task, fragments)
    assert len(calls(task)) == 2
    # As it was, in other words: the points stay.
    Path(task.config).write_text(
        f'# the same\n{TASK}'.replace('batch_size=1', 'batch_size=2-1')
    )
    finetuning_curve(run_dir, task, fragments)
    assert len(calls(task)) == 2


def test_places_and_weights_are_no_settings(run_dir, task, fragments):
    """The first backbone is removed, so the configuration is read with another one's path."""
    place = (
        "work_dir = 'a'\nvisualizer['save_dir'] = 'b'\n"
        "visualizer['vis_backends'][0]['save_dir'] = 'c'\n"
    )
    Path(task.config).write_text(TASK + place)
    finetuning_curve(run_dir, task, fragments)
    for path in (run_dir / 'backbones').glob('*_20-*'):
        path.unlink()
    Path(task.config).write_text(TASK)
    finetuning_curve(run_dir, task, fragments)
    assert [call[1] for call in calls(task)] == ['20', '100']


def test_the_metric_is_what_checkpoints_are_chosen_by(run_dir, task, fragments):
    best = "default_hooks = dict(checkpoint=dict(type='CheckpointHook', save_best='images'))"
    Path(task.config).write_text(f'{TASK}{best}\n')
    assert 'images' in finetuning_curve(run_dir, task, fragments)[0].splitlines()[0]
    table, _ = finetuning_curve(run_dir, task, fragments, metric='val_score')
    assert 'val_score' in table.splitlines()[0]
    with pytest.raises(ValueError, match=r'metric mAP: .* choose one of val_score, images'):
        finetuning_curve(run_dir, task, fragments, metric='mAP')


def test_several_processes_are_started_by_the_script(run_dir, task, fragments):
    (task.tools / 'dist_train.sh').write_text(
        'echo "$2" >> "$(dirname "$0")/processes.txt"\n"$PYTHON" "$(dirname "$0")/train.py" '
        '"$1" "${@:3}"\n'
    )
    finetuning_curve(run_dir, Task(task.config, [], 3, task.tools), fragments)
    assert (task.tools / 'processes.txt').read_text().split() == ['3', '3']
    assert [call[1] for call in calls(task)] == ['20', '100']


# Fine-tuning in earnest


@pytest.mark.slow
def test_reid_is_fine_tuned_from_each_backbone(tmp_path, people, monkeypatch, capsys):
    pytest.importorskip('mmpretrain.models')
    for epoch in (1, 2):
        export(tmp_path, epoch, four_blocks())
    arguments = (tmp_path, '--task', REID, '--cfg-options', *reid_options(people))
    status = call_tool(monkeypatch, 'analysis_tools/epoch_curve.py', *arguments)
    said = capsys.readouterr()
    assert status == 0, said.err
    assert [line.split()[0] for line in said.out.splitlines()[-3:-1]] == ['1', '2']
    record = json.loads((tmp_path / 'epoch_curve/transreid_market1501.json').read_text())
    assert record['settings']['backbone'] == 'vit-4blocks-p16'
    exports = find_exported_backbones(tmp_path)[1]
    key = 'backbone.layers.0.attn.qkv.weight'
    weights = [load_checkpoint_file(exported.path)['state_dict'][key] for exported in exports]
    for i, point in enumerate(record['points']):
        folder = tmp_path / 'epoch_curve/transreid_market1501' / exports[i].path.stem
        assert read_last_validation(folder) == (1, point['metrics'])
        assert point['metrics']['reid/queries'] == 12
        # It began with the weights of its own export: the warm-up has moved them a little.
        trained = load_checkpoint_file(folder / 'epoch_1.pth')['state_dict'][key]
        moved = [float((trained - other).abs().max()) for other in weights]
        assert 0 < moved[i] < moved[1 - i] / 10
