"""Two processes report what one reports."""

import os
from pathlib import Path

import pytest
import torch

from tests.processes import in_processes

from .oracle import evaluate, shifted

PEOPLE = 7  # one of the two processes gets one more


def report(folder: Path, launcher: str) -> tuple[dict[str, float], int]:
    """Scores of displaced heatmaps, and of how many people this process has seen them.

    What a process writes is in a folder of its own.
    """
    own = folder / os.environ.get('RANK', 'alone')
    own.mkdir()
    people = {'test_dataloader.dataset.indices': PEOPLE, 'test_dataloader.batch_size': 2}
    seen = []

    def displace(heatmaps: torch.Tensor) -> torch.Tensor:
        seen.append(len(heatmaps))
        return shifted(heatmaps)

    with pytest.MonkeyPatch.context() as monkeypatch:
        scores = evaluate('coco', own, monkeypatch, displace, launcher=launcher, **people)
    return scores, sum(seen)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_report_what_one_reports(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_DATA', str(drawn))
    alone, seen = report(tmp_path, 'none')
    assert seen == PEOPLE
    assert 0 < alone['coco/AP'] < 0.9
    found = in_processes(2, tmp_path, report, tmp_path, 'pytorch')
    assert found == [[alone, 4], [alone, 3]]
