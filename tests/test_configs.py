"""Every leaf config resolves, is short, and builds; every fragment belongs to one."""

import pytest
import torch
from mmengine.config import Config

from saip.registry import MODELS
from tests.tiny import ROOT

LEAVES = sorted(
    path for path in (ROOT / 'configs/pretrain').glob('*/*.py') if '_base_' not in path.parts
)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf(path):
    lines = path.read_text().rstrip().split('\n')
    assert len(lines) <= 15
    assert lines[0].startswith('# '), 'a leaf opens with its command'
    cfg = Config.fromfile(path)
    preset = path.stem.split('_')[0]
    assert cfg.preset == preset
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    parameters = sum(p.numel() for p in model.backbone.parameters())
    if preset != 'saip-small':
        assert parameters == 5_511_360  # 5.5M, Table I
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].end
    assert cfg.auto_scale_lr.base_batch_size in (256, 2048)
    types = [hook.type for hook in cfg.custom_hooks]
    assert all(name.startswith('saip.') for name in types)
    assert {'saip.ViewClockHook', 'saip.ExpertUpdateHook'} <= set(types)


def test_dumped_configs_reload_equal(tmp_path):
    cfg = Config.fromfile(LEAVES[0])
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_table_viii_of_the_paper():
    cfg = Config.fromfile(
        ROOT / 'configs/pretrain/saip/saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py'
    )
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.05)
    assert tuple(optimizer.betas) == (0.9, 0.95)
    assert optimizer.lr == pytest.approx(2.5e-4 * 2048 / 256)
    assert cfg.train_dataloader.batch_size == 256
    assert cfg.param_scheduler[0].end == 10
    assert cfg.train_cfg.max_epochs == 300
