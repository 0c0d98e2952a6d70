"""The learning rate is that of the baseline, whose scheduler is timm's."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from timm.scheduler import CosineLRScheduler

from tests.tiny import ROOT


def test_the_cosine_goes_on_where_the_warm_up_ends():
    cfg = Config.fromfile(ROOT / 'configs/downstream/reid/transreid_market1501.py')
    rate = cfg.optim_wrapper.optimizer.lr
    ours, theirs = (torch.optim.SGD([torch.zeros(1)], lr=rate) for _ in range(2))
    schedulers = [
        PARAM_SCHEDULERS.build(entry, default_args=dict(optimizer=ours))
        for entry in cfg.param_scheduler
    ]
    baseline = CosineLRScheduler(
        theirs, 120, lr_min=0.002 * rate, warmup_t=20, warmup_lr_init=0.01 * rate
    )
    for epoch in range(120):
        baseline.step(epoch)
        found, expected = (each.param_groups[0]['lr'] for each in (ours, theirs))
        # In the warm-up ours follows the cosine, too.
        assert found == pytest.approx(expected, rel=0.05 if epoch < 20 else 0.001), epoch
        ours.step()
        for scheduler in schedulers:
            scheduler.step()
