"""Two processes train together, synchronize BatchNorm, and report what one reports."""

from pathlib import Path

import pytest
from mmengine.runner import Runner

from saip.engine import launch
from saip.models.ops.batch_norm import CPUSyncBatchNorm
from saip.synthetic.formats import write_ade20k
from tests.processes import in_processes

from .small import CONFIG, options


def changes(root: Path, work_dir: Path) -> dict:
    return options(work_dir, root) | {
        'train_cfg.max_epochs': 1,
        'val_dataloader.dataset.indices': 5,  # one of the two processes gets an image twice
        'test_dataloader.dataset.indices': 5,
    }


def train(root: Path, work_dir: Path) -> list[str]:
    """Kinds of BatchNorm below the heads and the pyramid."""
    cfg = launch.read_config(str(CONFIG), changes(root, work_dir))
    launch.join_processes(cfg, 'pytorch')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    model = runner.model.module
    parts = (model.decode_head, model.auxiliary_head, model.backbone.levels)
    norms = [m for part in parts for m in part.modules() if 'BatchNorm' in type(m).__name__]
    assert all(isinstance(norm, CPUSyncBatchNorm) for norm in norms)
    return [type(norm).__name__ for norm in norms]


def evaluate(root: Path, work_dir: Path, launcher: str) -> dict[str, float]:
    checkpoint = str(work_dir / 'epoch_1.pth')
    options = changes(root, work_dir)
    found = launch.evaluate(str(CONFIG), checkpoint, options=options, launcher=launcher)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_train_together_and_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    root, work_dir = tmp_path / 'ADEChallengeData2016', tmp_path / 'work'
    write_ade20k(root)
    one, other = in_processes(2, tmp_path, train, root, work_dir)
    assert one == other
    assert len(one) > 8
    one, other = in_processes(2, tmp_path, evaluate, root, work_dir, 'pytorch')
    assert one == other
    assert one == pytest.approx(evaluate(root, work_dir, 'none'))
