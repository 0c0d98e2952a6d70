"""Two processes train together, and report what one reports."""

from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from saip.downstream.part_attributes import KERoIHead
from saip.engine import launch
from saip.synthetic.formats import write_fashionpedia
from tests.processes import in_processes

from .small import CONFIG, options
from .test_run import untrained

IMAGES = 5  # so that one of the two processes gets an image twice


def displaced(samples: list[DetDataSample]) -> list[InstanceData]:
    """Annotated garments, some of them moved or with other attributes, with scores by place."""
    found = []
    for sample in samples:
        garments = sample.gt_instances
        masks = torch.from_numpy(garments.masks.masks.astype(bool))
        attributes = garments.attributes.clone()
        boxes = garments.bboxes.clone()
        for number in range(len(garments)):
            masks[number] = masks[number].roll(number // 2, dims=1)
            boxes[number] += number // 2
            attributes[number, : number % 3] = True
        scores = (boxes @ torch.tensor([0.37, 0.73, 0.11, 0.29])) % 1
        result = InstanceData(bboxes=boxes, labels=garments.labels, scores=scores)
        result.masks, result.attributes = masks, attributes
        found.append(result)
    return found


def report(
    checkpoint: Path, root: Path, work_dir: Path, launcher: str
) -> tuple[dict[str, float], int]:
    """Scores of displaced garments, and in how many images this process has seen them."""
    seen = []

    def predict(head, x, proposals, samples, rescale=False):
        seen.append(len(samples))
        return displaced(samples)

    changes = options(work_dir, root) | {'test_dataloader.dataset.indices': IMAGES}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(KERoIHead, 'predict', predict)
        scores = launch.evaluate(
            str(CONFIG), str(checkpoint), options=changes, launcher=launcher
        )
    return scores, sum(seen)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.usefixtures('fresh_mmengine')
def test_two_processes_report_what_one_reports(tmp_path, monkeypatch):
    monkeypatch.setenv('SAIP_BACKBONE', 'vit-4blocks-p16')
    root, checkpoint = tmp_path / 'fashionpedia', tmp_path / 'any.pth'
    write_fashionpedia(root)
    untrained(checkpoint, root, options(tmp_path, root))
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
    write_fashionpedia(tmp_path / 'fashionpedia')
    in_processes(2, tmp_path, train, tmp_path / 'fashionpedia', tmp_path / 'work')
    assert (tmp_path / 'work/epoch_1.pth').is_file()
