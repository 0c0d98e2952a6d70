"""Two processes train together, and synchronize the BatchNorm of box head and pyramid."""

from pathlib import Path

import pytest
from mmengine.runner import Runner

from saip.engine import launch
from saip.models.ops.batch_norm import CPUSyncBatchNorm
from saip.synthetic.formats import write_coco
from tests.processes import in_processes

from .small import CONFIG, options


def train(root: Path, work_dir: Path) -> list[str]:
    """Train in this process as one of two; the kinds of BatchNorm."""
    cfg = launch.read_config(str(CONFIG), options(work_dir, root))
    launch.join_processes(cfg, 'pytorch')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    norms = [m for m in runner.model.modules() if 'BatchNorm' in type(m).__name__]
    assert all(isinstance(norm, CPUSyncBatchNorm) for norm in norms)
    return [type(norm).__name__ for norm in norms]


def evaluate(root: Path, work_dir: Path, launcher: str) -> dict[str, float]:
    changes = options(work_dir, root) | {
        'test_dataloader.dataset.indices': 5,
        'model.test_cfg.rcnn.score_thr': 0.001,
    }
    checkpoint = str(work_dir / 'epoch_1.pth')
    found = launch.evaluate(str(CONFIG), checkpoint, options=changes, launcher=launcher)
    return {name: float(value) for name, value in found.items()}


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_train_together_and_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    root, work_dir = tmp_path / 'coco', tmp_path / 'work'
    write_coco(root)
    one, other = in_processes(2, tmp_path, train, root, work_dir)
    assert one == other
    assert len(one) == 5
    one, other = in_processes(2, tmp_path, evaluate, root, work_dir, 'pytorch')
    assert one == other
    assert one == pytest.approx(evaluate(root, work_dir, 'none'), abs=0.002)
