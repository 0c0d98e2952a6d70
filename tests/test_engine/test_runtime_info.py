import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.hooks.runtime_info import (
    KEPT_VALUES,
    AsyncRuntimeInfoHook,
    NonFiniteLossError,
    stack_scalars,
)
from tests import toy_run

pytestmark = pytest.mark.usefixtures('fresh_mmengine')


class Recorder(Hook):
    """Reads every output at once, as mmengine's own hook does."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(outputs['loss_square'].detach()))


def run(tmp_path, **changes):
    cfg = Config(toy_run.config(str(tmp_path / 'work')))
    cfg.merge_from_dict(changes)
    runner = Runner.from_cfg(cfg)
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.train()
    return runner, recorder


@pytest.mark.parametrize('interval', [1, 2, 5])
def test_every_value_arrives_whatever_the_logging_interval(tmp_path, interval):
    runner, recorder = run(tmp_path, **{'default_hooks.logger.interval': interval})
    hub = runner.message_hub
    assert hub.get_scalar('train/loss_square').data[0].tolist() == pytest.approx(recorder.seen)
    assert len(hub.get_scalar('train/entropy').data[0]) == 6
    assert len(hub.get_scalar('train/lr').data[0]) == 6
    assert hub.get_scalar('train/loss_square').max_length == KEPT_VALUES


def test_the_log_names_every_term_rate_and_remaining_time(tmp_path):
    run(tmp_path)
    lines = next((tmp_path / 'work').glob('*/vis_data/scalars.json')).read_text().splitlines()
    first = json.loads(lines[0])
    terms = {'loss', 'loss_square', 'loss_abs', 'entropy'}
    assert terms | {'lr', 'time', 'epoch', 'iter'} <= set(first)
    console = next((tmp_path / 'work').glob('*/*.log')).read_text()
    assert 'eta: ' in console
    assert 'entropy: ' in console


def test_outputs_are_read_only_where_they_are_due(tmp_path, monkeypatch):
    flushes = []
    flush = AsyncRuntimeInfoHook.flush
    monkeypatch.setattr(
        AsyncRuntimeInfoHook,
        'flush',
        lambda self, hub: (flushes.append(len(self._values)), flush(self, hub)),
    )
    run(
        tmp_path,
        **{
            'default_hooks.logger.interval': 4,
            'train_dataloader.batch_size': 1,
            'train_cfg.max_epochs': 1,
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
        },
    )
    assert [count for count in flushes if count] == [4, 4]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_loss_that_is_not_a_number_stops_before_a_checkpoint(tmp_path, by_epoch):
    changes = {'train_dataloader.dataset.broken': 1, 'default_hooks.logger.interval': 50}
    if not by_epoch:
        changes |= {
            'default_hooks.checkpoint.by_epoch': False,
            'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=6, val_interval=9),
        }
    message = r'^loss_square, loss_abs not finite \(nan\) at iteration 2'
    with pytest.raises(NonFiniteLossError, match=message):
        run(tmp_path, **changes)
    written = sorted(path.name for path in (tmp_path / 'work').glob('*.pth'))
    assert written == ([] if by_epoch else ['iter_1.pth'])


def test_numbers_and_tensors_of_one_iteration_are_kept_together():
    outputs = {'a': torch.tensor(1.5, requires_grad=True), 'b': 2, 'c': torch.tensor([3])}
    stacked = stack_scalars(outputs)
    assert stacked.tolist() == [1.5, 2.0, 3.0]
    assert not stacked.requires_grad
