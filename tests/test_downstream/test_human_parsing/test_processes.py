"""Two processes train together, and report what one reports."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from saip.downstream.human_parsing import ParsingRoIHead
from saip.downstream.human_parsing.crops import trim
from saip.engine import launch
from saip.synthetic.formats import write_cihp
from tests.processes import in_processes

from .small import CONFIG, options

IMAGES = 5  # so that one of the two processes gets an image twice


def displaced(samples: list[DetDataSample]) -> list[InstanceData]:
    """Annotated people, moved and with some labels exchanged, with scores by place."""
    found = []
    for sample in samples:
        people = sample.gt_instances
        crops = []
        for number, labels in enumerate(people.masks.masks):
            crop = trim(labels)
            changed = np.where(crop.labels == 9, 12, crop.labels) if number % 2 else crop.labels
            crops.append(crop._replace(left=max(crop.left - number, 0), labels=changed))
        scores = (people.bboxes @ torch.tensor([0.37, 0.73, 0.11, 0.29])) % 1
        found.append(InstanceData(bboxes=people.bboxes, labels=people.labels, scores=scores))
        found[-1].parsings = crops
    return found


def report(
    checkpoint: Path, root: Path, work_dir: Path, launcher: str
) -> tuple[dict[str, float], int]:
    """Scores of displaced people, and in how many images this process has seen them."""
    seen = []

    def predict(head, x, proposals, samples, rescale=False):
        seen.append(len(samples))
        return displaced(samples)

    changes = options(work_dir, root) | {'test_dataloader.dataset.indices': IMAGES}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(ParsingRoIHead, 'predict', predict)
        scores = launch.evaluate(
            str(CONFIG), str(checkpoint), options=changes, launcher=launcher
        )
    return scores, sum(seen)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    root, checkpoint = tmp_path / 'CIHP', tmp_path / 'any.pth'
    write_cihp(root)
    cfg = launch.read_config(str(CONFIG), options(tmp_path, root))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
    alone, seen = report(checkpoint, root, tmp_path / 'alone', 'none')
    assert seen == IMAGES
    assert all(0 < value < 99 for value in alone.values())
    work_dir = tmp_path / 'together'
    found = in_processes(2, tmp_path, report, checkpoint, root, work_dir, 'pytorch')
    assert found == [[alone, (IMAGES + 1) // 2]] * 2


def train(root: Path, work_dir: Path) -> None:
    launch.train(str(CONFIG), options=options(work_dir, root), launcher='pytorch')


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_train_together(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    write_cihp(tmp_path / 'CIHP')
    in_processes(2, tmp_path, train, tmp_path / 'CIHP', tmp_path / 'work')
    assert (tmp_path / 'work/epoch_1.pth').is_file()
