"""Two processes end a cycle as one does, and report what one reports."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.optim.swa_utils import update_bn

from saip.checkpoint import load_checkpoint_file
from saip.engine.launch import join_processes
from tests.processes import in_processes

from .lip_files import write_lip
from .small import config, without_chance


def two_cycles(lip: Path, work_dir: Path, batch_size: int) -> Config:
    """A small network, two cycles of one epoch, images as they are."""
    cfg = config(
        lip,
        work_dir,
        param_scheduler=[],
        train_cfg=dict(max_epochs=2, val_interval=2),
        custom_hooks=[dict(type='saip.SelfCorrectionHook', epochs=[1, 2])],
        default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=-1, save_best=None)),
    )
    cfg.train_dataloader.batch_size = batch_size
    without_chance(cfg)
    return cfg


def train(lip: Path, work_dir: Path) -> dict[str, float]:
    """Train in this process as one of two; return scores and what sums up the average."""
    cfg = two_cycles(lip, work_dir, batch_size=2)
    join_processes(cfg, 'pytorch')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert is_model_wrapper(runner.model)
    assert runner.iter == 2
    model = runner.model.module
    assert model.cycles == 2
    averaged = model.averaged.module.state_dict().values()
    scores = {
        key: runner.message_hub.get_scalar(f'val/{key}').current()
        for key in ('mIoU', 'mAcc', 'aAcc')
    }
    return {**scores, 'sum': sum(value.double().abs().sum().item() for value in averaged)}


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_end_a_cycle_together(tmp_path):
    lip = write_lip(tmp_path / 'LIP')
    one, other = in_processes(2, tmp_path, train, lip, tmp_path / 'two')
    assert one == other

    cfg = two_cycles(lip, tmp_path / 'one', batch_size=4)
    cfg.load_from = str(tmp_path / 'two/epoch_2.pth')
    runner = Runner.from_cfg(cfg)
    scores = runner.test()
    assert scores == pytest.approx({key: one[key] for key in scores})

    # The ends of both cycles have gone into the average, and its statistics are those of the
    # training images of both processes, here seen by one.
    ends = [
        load_checkpoint_file(tmp_path / f'two/epoch_{epoch}.pth')['state_dict']
        for epoch in (1, 2)
    ]
    key = 'decode_head.conv_seg.weight'
    mean = (ends[0][key] + ends[1][key]) / 2
    torch.testing.assert_close(ends[1][f'averaged.module.{key}'], mean)
    averaged = runner.model.averaged
    stored = {key: value.clone() for key, value in averaged.named_buffers()}
    update_bn(
        (
            runner.model.data_preprocessor(batch, training=True)['inputs']
            for batch in runner.build_dataloader(cfg.train_dataloader)
        ),
        averaged,
    )
    for key, value in averaged.named_buffers():
        torch.testing.assert_close(value, stored[key], rtol=1e-4, atol=1e-5, msg=key)
