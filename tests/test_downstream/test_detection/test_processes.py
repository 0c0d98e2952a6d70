"""Two processes report what one reports."""

from pathlib import Path

import pytest
import torch
from mmdet.models.detectors import CrowdDet
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor

from saip.engine import launch
from saip.synthetic.formats import write_crowdhuman
from tests.processes import in_processes

from .small import CONFIG, options

IMAGES = 3  # so that one of the two processes gets an image twice


def displaced(samples: list[DetDataSample]) -> list[DetDataSample]:
    """Annotated people, moved to the right by up to 0.6 of their width, with scores by place."""
    for sample in samples:
        boxes = sample.gt_instances.bboxes
        place = boxes @ torch.tensor([0.37, 0.73, 0.11, 0.29])
        moved = boxes.clone()
        moved[:, 0::2] += ((place % 0.6) * (boxes[:, 2] - boxes[:, 0]))[:, None]
        labels = torch.zeros(len(boxes), dtype=torch.long)
        sample.pred_instances = InstanceData(bboxes=moved, scores=place % 1, labels=labels)
    return samples


def report(
    checkpoint: Path, root: Path, work_dir: Path, launcher: str
) -> tuple[dict[str, float], int]:
    """Scores of displaced people, and in how many images this process has seen them."""
    seen = []

    def predict(
        model: CrowdDet, inputs: Tensor, samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        seen.append(len(samples))
        return displaced(samples)

    changes = options(work_dir, root) | {
        'test_dataloader.dataset.indices': IMAGES,
        'test_dataloader.batch_size': 1,
    }
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(CrowdDet, 'predict', predict)
        scores = launch.evaluate(
            str(CONFIG), str(checkpoint), options=changes, launcher=launcher
        )
    return scores, sum(seen)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    root, checkpoint = tmp_path / 'CrowdHuman', tmp_path / 'any.pth'
    write_crowdhuman(root)
    cfg = launch.read_config(str(CONFIG), options(tmp_path, root))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = ROOT_MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
    alone, seen = report(checkpoint, root, tmp_path / 'alone', 'none')
    assert seen == IMAGES
    assert all(0 < alone[f'crowd_human/{name}'] < 0.95 for name in ('mAP', 'mMR', 'JI'))
    work_dir = tmp_path / 'together'
    found = in_processes(2, tmp_path, report, checkpoint, root, work_dir, 'pytorch')
    assert found == [[alone, (IMAGES + 1) // 2]] * 2
