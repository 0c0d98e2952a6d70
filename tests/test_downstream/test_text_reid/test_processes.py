"""Two processes train together, learn one vocabulary and report what one reports."""

from pathlib import Path

import pytest

from saip.checkpoint import load_checkpoint_file
from saip.engine import launch
from saip.synthetic.formats import write_cuhk_pedes
from tests.processes import in_processes
from tests.test_downstream.test_text_reid.small import CUHK, small


def train(root: Path, work_dir: Path) -> None:
    launch.train(CUHK, options=small(work_dir, str(root), 8), launcher='pytorch')


def evaluate(root: Path, work_dir: Path, launcher: str) -> dict[str, float]:
    options = small(work_dir, str(root), 8)
    checkpoint = str(work_dir / 'epoch_1.pth')
    return launch.evaluate(CUHK, checkpoint, options=options, launcher=launcher)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    write_cuhk_pedes(tmp_path / 'people')
    arguments = tmp_path / 'people', tmp_path / 'work'
    in_processes(2, tmp_path, train, *arguments)
    stored = load_checkpoint_file(tmp_path / 'work/epoch_1.pth')
    assert stored['meta']['iter'] == 6  # 48 captions, four in each of two processes
    one, other = in_processes(2, tmp_path, evaluate, *arguments, 'pytorch')
    assert one == other
    assert one['text_reid/captions'] == 24
    assert one == pytest.approx(evaluate(*arguments, 'none'), rel=1e-5)
