"""Files of a run: finite, of this run, in this folder, and named when a disk is full."""

import errno
import logging
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from tensorboard.summary.writer.record_writer import RecordWriter

from saip.checkpoint import CheckpointError
from saip.checkpoint.inspection import inspect_file
from saip.engine import launch, resume
from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from saip.engine.hooks.preemption import SIGNALS
from saip.engine.loops import ResumableEpochLoop
from saip.engine.processes import PATIENCE, join_processes
from saip.engine.resume import newest_checkpoint
from saip.errors import InputError, StoppedError, one_line_errors
from tests import toy_run
from tests.processes import in_processes
from tests.tiny import ROOT

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
KEEP = 'default_hooks.checkpoint.max_keep_ckpts'
BEST = {
    'default_hooks.checkpoint.save_best': 'score',
    'default_hooks.checkpoint.rule': 'greater',
}
CONTINUE = {'default_hooks.checkpoint.on_full_disk': 'continue'}


class Poison:
    """Makes a weight NaN after so many iterations, behind the back of every guard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, iterations: int) -> None:
        self.left = iterations
        step = torch.optim.SGD.step

        def poisoned(optimizer, *args, **kwargs):
            step(optimizer, *args, **kwargs)
            if optimizer.param_groups[0]['params'][0].grad is not None:
                self.left -= 1
            if self.left == 0:
                optimizer.param_groups[0]['params'][0].data.fill_(float('nan'))

        monkeypatch.setattr(torch.optim.SGD, 'step', poisoned)


def written(work: Path) -> list[str]:
    return sorted(path.name for path in work.glob('*.pth'))


def poison_file(path: Path, key: str) -> None:
    checkpoint = torch.load(path, weights_only=True)
    tensors = checkpoint[key]
    if key == 'optimizer':
        tensors = tensors['state'][0]
        key = 'momentum_buffer'
    else:
        key = 'layer.weight'
    tensors[key].fill_(float('inf'))
    torch.save(checkpoint, path)


@pytest.mark.parametrize('epoch', [2, 3])
def test_a_poisoned_run_saves_nothing_and_fails(toy_config, tmp_path, monkeypatch, epoch):
    """In the last step of an epoch, and of the training, no loss shows it any more."""
    Poison(monkeypatch, 2 * epoch)
    listening = [signal.getsignal(name) for name in SIGNALS]
    with pytest.raises(
        StoppedError, match=r'state_dict\.layer\.weight not finite after'
    ) as error:
        launch.train(toy_config(**{KEEP: 1}))
    assert [signal.getsignal(name) for name in SIGNALS] == listening
    good = f'epoch_{epoch - 1}.pth'
    assert f'resume from the last good checkpoint, {tmp_path}/work/{good},' in str(error.value)
    assert 'saip.AutocastOptimWrapper' in str(error.value)
    assert written(tmp_path / 'work') == [good]
    assert newest_checkpoint(tmp_path / 'work')[0].name == good


@pytest.mark.parametrize('resumed', [False, True])
def test_a_poisoned_run_names_what_it_can_go_on_with(
    toy_config, tmp_path, monkeypatch, resumed
):
    """Its first checkpoint was not written yet; the wrapper that skips steps is there."""
    first = tmp_path / 'work/epoch_1.pth'
    if resumed:
        launch.train(toy_config(), amp=True, options={'train_cfg.max_epochs': 1})
    Poison(monkeypatch, 2)
    with pytest.raises(StoppedError, match='not finite after iteration') as error:
        launch.train(toy_config(), amp=True, resume='auto' if resumed else None)
    way = f'resume from the last good checkpoint, {first},' if resumed else 'begin anew'
    assert f'{way} with a lower learning rate or gradient clipping' in str(error.value)
    assert 'AutocastOptimWrapper' not in str(error.value)


@pytest.mark.parametrize('key', ['state_dict', 'optimizer'])
def test_a_poisoned_file_is_not_resumed(toy_config, tmp_path, capsys, key):
    momentum = {'optim_wrapper.optimizer.momentum': 0.9}
    launch.train(toy_config(**momentum), options={'train_cfg.max_epochs': 2})
    work = tmp_path / 'work'
    poison_file(work / 'epoch_2.pth', key)
    capsys.readouterr()
    launch.train(toy_config(**momentum), resume='auto')
    out, err = capsys.readouterr()
    assert f'skipping {work}/epoch_2.pth' in err
    assert '1 tensor not finite' in err
    assert f'resuming {work}/epoch_1.pth: 1 epoch, 2 iterations done' in out
    poison_file(work / 'epoch_3.pth', key)
    with pytest.raises(CheckpointError, match='not finite'):
        launch.train(toy_config(**momentum), resume=str(work / 'epoch_3.pth'))


def test_a_poisoned_average_is_not_resumed(toy_config, tmp_path, capsys):
    """mmengine keeps the average under the names of the weights, and these beside them."""
    averaged = toy_config(custom_hooks=[dict(type='EMAHook')])
    launch.train(averaged, options={'train_cfg.max_epochs': 2})
    path = tmp_path / 'work/epoch_2.pth'
    checkpoint = torch.load(path, weights_only=True)
    checkpoint['ema_state_dict']['module.layer.weight'].fill_(float('nan'))
    torch.save(checkpoint, path)
    launch.train(averaged, resume='auto', options={'train_cfg.max_epochs': 2})
    assert f'skipping {path}: 1 tensor not finite' in capsys.readouterr().err


@pytest.mark.parametrize('hooks', [[], [dict(type='EMAHook')]], ids=['alone', 'averaged'])
def test_a_buffer_that_is_infinite_by_design_is_no_poison(
    toy_config, tmp_path, monkeypatch, hooks
):
    build = toy_run.ToyLine.__init__

    def with_mask(self, *args, **kwargs):
        build(self, *args, **kwargs)
        self.register_buffer('mask', torch.tensor([0.0, float('-inf')]))

    monkeypatch.setattr(toy_run.ToyLine, '__init__', with_mask)
    path = toy_config(custom_hooks=hooks)
    launch.train(path, options={'train_cfg.max_epochs': 1})
    launch.train(path, resume='auto')
    assert written(tmp_path / 'work') == ['epoch_2.pth', 'epoch_3.pth']
    found = inspect_file(tmp_path / 'work/epoch_3.pth')
    assert not found.broken
    assert dict(found.rows)['constants'] == 'not finite from the start, as masks: mask'


def test_a_checkpoint_too_many_of_a_killed_run_is_removed(toy_config, tmp_path, monkeypatch):
    work = tmp_path / 'work'

    class KilledError(Exception):
        pass

    def killed(self, *args):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr('saip.engine.kept_checkpoints.KeptCheckpoints.add', killed)
        with pytest.raises(KilledError):
            launch.train(toy_config(**{KEEP: 1}))
    other = torch.load(work / 'epoch_1.pth', weights_only=True)
    other['meta']['run_id'] = 'another run'
    torch.save(other, work / 'epoch_7.pth')
    os.utime(work / 'epoch_7.pth', (0, 0))  # an earlier run's
    launch.train(toy_config(**{KEEP: 1}), resume='auto')
    assert written(work) == ['epoch_3.pth', 'epoch_7.pth']


def test_a_copied_folder_continues_its_own_files(toy_config, tmp_path, capsys):
    toy_run.ToyScore.scores = [1.0, 2.0, 3.0]
    launch.train(toy_config(**BEST), options={'train_cfg.max_epochs': 2})
    original, copy = tmp_path / 'work', tmp_path / 'copy'
    before = {path.name: path.read_bytes() for path in original.glob('*.pth')}
    shutil.copytree(original, copy)
    capsys.readouterr()
    launch.train(toy_config('copy', **BEST, work_dir=str(copy)), resume='auto')
    assert f'resuming {copy}/epoch_2.pth' in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in original.glob('*.pth')} == before
    assert written(copy) == ['best_score_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_tools_of_the_libraries_resume_the_same_file(toy_config, tmp_path, monkeypatch):
    """They ask mmengine, which reads last_checkpoint as a path from the present folder."""
    path = toy_config()
    launch.train(path, options={'train_cfg.max_epochs': 2})
    poison_file(tmp_path / 'work/epoch_2.pth', 'state_dict')
    monkeypatch.chdir('/')
    cfg = Config.fromfile(path)
    cfg.resume = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner._load_from == str(tmp_path / 'work/epoch_1.pth')
    assert runner.epoch == 3


def test_the_newest_checkpoint_is_the_one_with_the_most_iterations(toy_config, tmp_path):
    """Copied in any order, and last_checkpoint is that of a run killed before it wrote there."""
    launch.train(toy_config())
    work = tmp_path / 'work'
    (work / 'last_checkpoint').write_text('epoch_2.pth')
    os.utime(work / 'epoch_3.pth', (1, 1))
    assert newest_checkpoint(work)[0].name == 'epoch_3.pth'
    launch.train(toy_config(**{KEEP: 2}), resume='auto', options={'train_cfg.max_epochs': 4})
    assert written(work) == ['epoch_3.pth', 'epoch_4.pth']


def test_what_a_run_gave_up_when_it_went_back_is_not_continued(tmp_path):
    for name, epoch, time, run in (
        ('epoch_1', 1, '20260101_100000', 'a'),
        ('epoch_2', 2, '20260101_130000', 'a'),
        ('epoch_3', 3, '20260101_120000', 'a'),
        ('epoch_9', 9, '20260101_140000', 'another'),
    ):
        meta = dict(epoch=epoch, iter=2 * epoch, time=time, run_id=run)
        content = dict(meta=meta, state_dict={}, optimizer={}, message_hub={})
        torch.save(content, tmp_path / f'{name}.pth')
    (tmp_path / 'last_checkpoint').write_text('epoch_2.pth')
    assert newest_checkpoint(tmp_path)[0].stem == 'epoch_2'


def resumed_by(work: str, empty: str) -> list[str]:
    """What a process resumes whose folder looks otherwise than that of the first one."""
    join_processes(Config(), 'pytorch')
    found = []
    for folder, own in ((work, {}), (work, {'check_resumable': 'another'}), (empty, {})):
        with pytest.MonkeyPatch.context() as patch:
            if get_rank() == 1:
                for name, answer in {'newest_checkpoint': None, **own}.items():
                    patch.setattr(resume, name, lambda path, answer=answer: answer)
            try:
                found.append(resume.agreed_checkpoint(Path(folder))[0].name)
            except CheckpointError as error:
                found.append(str(error))
    return found


@pytest.mark.slow
@pytest.mark.dist
def test_all_processes_continue_what_the_first_one_has_chosen(toy_config, tmp_path):
    launch.train(toy_config())
    damaged = tmp_path / 'damaged'
    damaged.mkdir()
    (damaged / 'epoch_1.pth').touch()
    found = in_processes(2, tmp_path, resumed_by, str(tmp_path / 'work'), str(damaged))
    assert found[0] == found[1]
    assert found[0][0] == 'epoch_3.pth'
    assert 'and process 1 finds there: another checkpoint' in found[0][1]
    assert 'the only checkpoint is damaged' in found[0][2]


def fill_disk(monkeypatch: pytest.MonkeyPatch, name: str, number: int = errno.ENOSPC) -> None:
    replace = os.replace

    def full_disk(source, target):
        if name in str(target):
            raise OSError(number, os.strerror(number))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', full_disk)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize('name', ['epoch_2', 'best_score_epoch_2'])
def test_a_full_disk_is_told_with_both_sizes(toy_config, monkeypatch, name, number):
    toy_run.ToyScore.scores = [1.0, 2.0, 3.0]
    fill_disk(monkeypatch, name, number)
    with pytest.raises(
        OSError, match=r'0\.\d MB were to be written, \d+\.\d MB are free'
    ) as error:
        launch.train(toy_config(**BEST))
    assert 'earlier checkpoints are intact' in str(error.value)
    assert error.value.filename.endswith(f'{name}.pth')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_training_goes_on_to_the_next_checkpoint_if_it_is_to(
    toy_config, tmp_path, monkeypatch, capsys, number
):
    fill_disk(monkeypatch, 'epoch_2', number)
    launch.train(toy_config(**CONTINUE))
    assert written(tmp_path / 'work') == ['epoch_1.pth', 'epoch_3.pth']
    assert 'training goes on to the next checkpoint' in ''.join(capsys.readouterr())


def test_a_best_checkpoint_that_was_not_written_is_not_the_best(
    toy_config, tmp_path, monkeypatch, capsys
):
    toy_run.ToyScore.scores = [1.0, 3.0, 2.0]
    fill_disk(monkeypatch, 'best_score_epoch_2')
    launch.train(toy_config(**BEST, **CONTINUE))
    assert 'training goes on to the next checkpoint' in ''.join(capsys.readouterr())
    files = ['best_score_epoch_3.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert written(tmp_path / 'work') == files
    hub = torch.load(tmp_path / 'work/epoch_3.pth', weights_only=True)['message_hub']
    assert hub['runtime_info']['best_score'] == 2.0
    assert hub['runtime_info']['best_ckpt'].endswith('best_score_epoch_3.pth')


def test_a_full_disk_costs_lines_of_the_log_and_not_the_run(
    toy_config, tmp_path, monkeypatch, capfd
):
    """Writing fails, not opening: then Python names no file."""

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalVisBackend, '_dump', full)
    run_epoch = ResumableEpochLoop.run_epoch

    def fill(self: ResumableEpochLoop) -> None:
        for handler in self.runner.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                monkeypatch.setattr(handler.stream, 'write', full, raising=False)
        run_epoch(self)

    monkeypatch.setattr(ResumableEpochLoop, 'run_epoch', fill)
    launch.train(toy_config())
    assert (tmp_path / 'work/epoch_3.pth').is_file()
    said = ''.join(capfd.readouterr())
    assert said.count('lines of the log are lost') == 1
    assert (
        said.count('LocalVisBackend: [Errno 28] No space left on device; points are lost') == 1
    )
    assert 'Traceback' not in said


def test_a_full_disk_costs_points_of_tensorboard_and_not_the_run(
    toy_config, tmp_path, monkeypatch, capfd
):
    """It writes in a thread, and raises what that ended with at every point from then on."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run_epoch = ResumableEpochLoop.run_epoch

    def fill(self: ResumableEpochLoop) -> None:
        monkeypatch.setattr(RecordWriter, 'write', full)
        run_epoch(self)

    monkeypatch.setattr(ResumableEpochLoop, 'run_epoch', fill)
    backends = [dict(type='TensorboardVisBackend'), dict(type='LocalVisBackend')]
    launch.train(toy_config(**{'visualizer.vis_backends': backends}))
    said = ''.join(capfd.readouterr())
    assert said.count('TensorboardVisBackend: [Errno 28] No space left on device') == 1
    assert 'Traceback' not in said
    (curves,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    assert len(curves.read_text().splitlines()) == 6  # three epochs and their validations


def test_a_full_disk_without_the_name_of_a_file_is_one_line(
    toy_config, tmp_path, monkeypatch, capsys
):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Runner, 'dump_config', full)
    with pytest.raises(SystemExit) as end, one_line_errors():
        launch.train(toy_config())
    assert end.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'No space left on device' in said
    assert f"MB are free): '{tmp_path}/work'" in said


def test_another_answer_to_a_full_disk_is_refused():
    with pytest.raises(InputError, match="on_full_disk='wait': choose 'stop' or 'continue'"):
        AtomicCheckpointHook(on_full_disk='wait')


@pytest.mark.parametrize(
    ('given', 'seconds'), [({}, 600), ({'env_cfg.dist_cfg.timeout': 77}, 77)]
)
@pytest.mark.usefixtures('one_process_group')
def test_every_group_of_processes_has_the_timeout_of_the_configuration(
    toy_config, monkeypatch, given, seconds
):
    found = []
    for name in ('init_process_group', 'new_group'):
        real = getattr(torch.distributed, name)

        def made(*arguments: object, real=real, **options: object) -> object:
            found.append(options['timeout'])
            return real(*arguments, **options)

        monkeypatch.setattr(torch.distributed, name, made)
    launch.train(toy_config(**given), launcher='pytorch')
    assert found == [timedelta(seconds=seconds)] * 2


def test_the_shipped_configurations_say_the_timeout():
    for path in ('_base_/default_runtime.py', 'downstream/_base_/mmseg_runtime.py'):
        cfg = Config.fromfile(ROOT / 'configs' / path)
        assert cfg.env_cfg.dist_cfg.timeout == PATIENCE
