"""A run is checked by its own beginning, of which nothing stays."""

import errno
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from saip.engine import check_run as module
from saip.engine import disk_budget, launch
from saip.engine.check_run import check_run
from saip.engine.disk_budget import budget_of, size
from saip.engine.keys import ConfigKeyError
from saip.engine.rehearsal import Rehearsed
from saip.engine.required_paths import check_paths, required_paths
from saip.errors import MissingFileError, StartError
from tests.tools import call_tool

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


def told_by(config: str, **arguments) -> dict[str, str]:
    found: dict[str, str] = {}
    check_run(config, found.__setitem__, **arguments)
    return found


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob('*') if '__pycache__' not in path.parts}


def test_everything_is_tried_and_nothing_stays(toy_config, tmp_path):
    config = toy_config()
    before = files_below(tmp_path)
    told = told_by(config)
    assert list(told) == [
        'keys',
        'paths',
        'work dir',
        'batch',
        'step',
        'save',
        'disk',
        'time',
    ]
    assert told['batch'].startswith('4 images')
    assert told['batch'].endswith('4 of the validation')
    # Three epochs of two batches; two checkpoints stay, a third is written before one goes.
    assert 'for 6 steps on 1 process' in told['time']
    assert '(3 checkpoints, 0 best ones)' in told['disk']
    assert files_below(tmp_path) == before


def test_the_run_after_a_check_is_the_run_without_one(toy_config, tmp_path):
    def trained(name: str, checked: bool) -> torch.Tensor:
        config = toy_config(name, work_dir=str(tmp_path / name))
        if checked:
            told_by(config)
        launch.train(config)
        state = torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)
        return state['state_dict']['layer.weight']

    assert torch.equal(trained('alone', False), trained('after', True))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.widht': 2}, "did you mean 'width'"),
        ({'load_from': 'absent.pth'}, r'1 of 1 paths do not exist: load_from=absent\.pth'),
        ({'train_dataloader.dataset.broken': 8}, 'loss of step 1 is nan|loss'),
        (
            {'train_dataloader.batch_size': 9, 'train_dataloader.drop_last': True},
            'fewer than one',
        ),
        ({'model.type': 'ToyLin'}, 'ToyLin is not in the'),
        ({'val_dataloader.dataset.type': 'mmengine.Absent'}, 'Absent'),
    ],
)
def test_what_the_run_would_stop_at_is_refused(toy_config, tmp_path, changes, message):
    config = toy_config(**changes)
    before = files_below(tmp_path)
    with pytest.raises((StartError, ConfigKeyError, MissingFileError), match=message):
        told_by(config)
    assert files_below(tmp_path) == before


def test_checkpoints_of_another_run_are_named(toy_config, tmp_path):
    launch.train(toy_config())
    with pytest.raises(StartError, match='--resume'):
        told_by(toy_config())


def test_a_disk_without_room_is_refused_with_what_is_missing(toy_config, monkeypatch):
    monkeypatch.setattr(disk_budget, 'free_bytes', lambda folder: 1000)
    with pytest.raises(StartError, match=r'1 kB are free: .* are missing.*max_keep_ckpts'):
        told_by(toy_config())


def test_a_checkpoint_that_cannot_be_written_is_one_line(toy_config, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device', 'rehearsal.pth')

    monkeypatch.setattr(Runner, 'save_checkpoint', fail)
    with pytest.raises(StartError, match='No space left on device'):
        told_by(toy_config())


def test_a_training_warns_of_a_disk_that_will_be_full(toy_config, monkeypatch, capsys):
    monkeypatch.setattr(disk_budget, 'free_bytes', lambda folder: 1)
    launch.train(toy_config())
    assert 'the run keeps up to about' in ''.join(capsys.readouterr())


def test_accumulated_micro_batches_are_done_to_the_end(toy_config):
    told = told_by(toy_config(**{'optim_wrapper.accumulative_counts': 3}))
    assert 'for 6 steps' in told['time']


@pytest.mark.parametrize(
    ('hook', 'epochs', 'expected'),
    [
        (dict(interval=1, max_keep_ckpts=3, save_best='auto'), 300, (4, 2)),
        (dict(interval=1, max_keep_ckpts=3), 2, (2, 0)),
        (dict(interval=10), 100, (10, 0)),
        (dict(interval=10), 95, (10, 0)),  # and the last
        (dict(interval=10, save_last=False), 95, (9, 0)),
        (dict(interval=10, save_begin=50), 100, (6, 0)),
        (dict(interval=10, max_keep_ckpts=-1, save_best=['a', 'b']), 100, (10, 3)),
        (dict(interval=1000, by_epoch=False), 5, (10, 0)),  # epochs of 2,000 iterations
        (dict(interval=3000, by_epoch=False, max_keep_ckpts=3), 5, (4, 0)),
        ({}, 100, (1, 0)),
    ],
)
def test_the_budget_counts_what_is_kept(hook, epochs, expected):
    cfg = {'default_hooks': {'checkpoint': hook}}
    budget = budget_of(cfg, epochs, 2000 * epochs, checkpoint_bytes=100, backbone_bytes=10)
    assert (budget.checkpoints, budget.best) == expected
    assert budget.bytes == round(1.05 * 100 * sum(expected))


@pytest.mark.sampled(3)
@pytest.mark.parametrize('epochs', [True, False])
@pytest.mark.parametrize(
    'changes',
    [dict(interval=2), dict(interval=2, by_epoch=False), dict(interval=4, save_begin=3)],
)
def test_the_budget_is_what_a_run_leaves(toy_config, tmp_path, epochs, changes):
    """Seven epochs of two iterations, or seven iterations."""
    hook = dict(max_keep_ckpts=-1, **changes)
    loop = dict(max_epochs=7) if epochs else dict(_delete_=True, by_epoch=False, max_iters=7)
    path = toy_config(**{'default_hooks.checkpoint': hook, 'train_cfg': loop})
    launch.train(path, validate=False)
    left = len(list((tmp_path / 'work').glob('*.pth')))
    lengths = (7, 14) if epochs else (1, 7)
    assert (
        budget_of({'default_hooks': {'checkpoint': hook}}, *lengths, 1, 1).checkpoints == left
    )


@pytest.mark.parametrize(('epochs', 'times'), [(120, 3), (100, 2), (1, 1)])
def test_the_budget_counts_exports(epochs, times):
    """After epochs 50, 100, ... and at the end, in two formats."""
    cfg = {'custom_hooks': [{'type': 'saip.ExportBackboneHook', 'interval': 50}]}
    assert budget_of(cfg, epochs, 7, 0, 10).exports == 2 * times


@pytest.mark.parametrize(
    ('count', 'said'), [(999, '999 B'), (63.2e6, '63.2 MB'), (1.5e12, '1,500.0 GB')]
)
def test_sizes(count, said):
    assert size(count) == said


def test_the_time_follows_from_steps_and_processes():
    found = Rehearsed(iterations=100, seconds=[1.0, 2.0, 9.0])
    assert (
        module._estimate(found, 3) == '0:01:08 for 34 steps on 3 processes, without validation'
    )


def test_paths_are_those_of_data_and_weights(tmp_path):
    (tmp_path / 'here').mkdir()
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='ConcatDataset',
                    datasets=[
                        dict(data_root=str(tmp_path / 'here'), ann_file='a.json'),
                        dict(data_root='absent', keypoints='none', bbox_file='b.json'),
                        dict(keypoints='k.npz'),
                    ],
                )
            ),
            val_evaluator=[dict(ann_file=str(tmp_path / 'here'))],
            model=dict(
                backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://x')),
                expert=dict(checkpoint='expert.pth'),
            ),
            test_dataloader=dict(dataset=dict(data_root='not asked')),
            load_from=None,
        )
    )
    assert required_paths(cfg) == {
        'train_dataloader.dataset.datasets.0.data_root': str(tmp_path / 'here'),
        'train_dataloader.dataset.datasets.0.ann_file': str(tmp_path / 'here/a.json'),
        'train_dataloader.dataset.datasets.1.data_root': 'absent',
        'train_dataloader.dataset.datasets.1.bbox_file': 'b.json',
        'train_dataloader.dataset.datasets.2.keypoints': 'k.npz',
        'val_evaluator.0.ann_file': str(tmp_path / 'here'),
        'model.expert.checkpoint': 'expert.pth',
    }
    with pytest.raises(
        MissingFileError, match=r'5 of 7 paths do not exist: .*a\.json; .*expert'
    ):
        check_paths(cfg)


def test_the_commands(toy_config, tmp_path, monkeypatch, capsys):
    config = toy_config()
    assert call_tool(monkeypatch, 'check.py', config) == 0
    assert capsys.readouterr().out.rstrip().endswith('the run can start')
    assert call_tool(monkeypatch, 'check.py', config, '--cfg-options', 'modle.width=1') == 2
    said = capsys.readouterr()
    assert 'the run cannot start' in said.out
    assert "did you mean 'model'" in said.err
    assert call_tool(monkeypatch, 'train.py', config, '--check') == 0
    assert (tmp_path / 'work/epoch_3.pth').is_file()
    assert call_tool(monkeypatch, 'train.py', config, '--check', '--resume') == 2
