"""A line of the real CrowdHuman, and COCO's people in its format, through loader and metric."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, DefaultScope

from saip.datasets.crops import DataError
from saip.downstream.detection import CrowdHuman
from saip.registry import DATASETS
from tests.tiny import NO_REALDATA, REALDATA

from .crowd_files import write_image
from .small import CONFIG

NATIVE = REALDATA / 'native'
LINE = NATIVE / 'crowdhuman_annotation_sample/test_annotation_train.odgt'
COCO = NATIVE / 'coco'

line = pytest.mark.skipif(not LINE.is_file(), reason=NO_REALDATA)
coco = pytest.mark.skipif(not COCO.is_dir(), reason=NO_REALDATA)


def shipped(root: Path, ann_file: Path, split: str, images: str = 'Images/') -> CrowdHuman:
    settings = dict(Config.fromfile(CONFIG)[f'{split}_dataloader'].dataset)
    settings.update(data_root=str(root), ann_file=str(ann_file), data_prefix=dict(img=images))
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(settings)


def perfect(data: CrowdHuman, ann_file: Path) -> dict[str, float]:
    """Scores of a detector that finds exactly the people that the loader says there are."""
    settings = dict(Config.fromfile(CONFIG).val_evaluator, ann_file=str(ann_file))
    with DefaultScope.overwrite_default_scope('mmdet'):
        metric = METRICS.build(settings)
    for number in range(len(data)):
        sample = data[number]['data_samples']
        # Images are resized for the test; these boxes are not, nor are predicted ones.
        boxes = sample.gt_instances.bboxes.tensor
        found = dict(bboxes=boxes, scores=torch.linspace(0.9, 0.1, len(boxes)))
        metric.process(
            {},
            [dict(img_id=sample.img_id, ori_shape=sample.ori_shape, pred_instances=found)],
        )
    scores = metric.evaluate(len(data))
    return {key.removeprefix('crowd_human/'): value for key, value in scores.items()}


def people_of(ann_file: Path) -> list[list[list[int]]]:
    """Full boxes (x, y, width, height) of the people of each line that are not to be ignored."""
    records = map(json.loads, ann_file.read_text().splitlines())
    return [
        [
            b['fbox']
            for b in record['gtboxes']
            if b['tag'] == 'person' and not b['extra'].get('ignore')
        ]
        for record in records
    ]


def check(data: CrowdHuman, ann_file: Path) -> None:
    expected = people_of(ann_file)
    assert len(data) == len(expected)
    for number, boxes in enumerate(expected):
        corners = [[x, y, x + w, y + h] for x, y, w, h in boxes]
        found = data[number]['data_samples'].gt_instances
        assert found.bboxes.tensor.tolist() == corners
        assert found.labels.tolist() == [0] * len(boxes)


@line
def test_a_line_of_crowdhuman(tmp_path):
    write_image(tmp_path / 'Images/283554,35288000868e92d4.jpg', 1400, 1800)
    data = shipped(tmp_path, LINE, 'val')
    check(data, LINE)
    sample = data[0]['data_samples']
    assert len(sample.gt_instances.bboxes) == 6
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[1387, 353, 1707, 638]]
    # A curve that begins at the first of 6 detections.
    assert perfect(data, LINE) == {'mAP': pytest.approx(5 / 6, abs=6e-5), 'mMR': 0}
    assert len(shipped(tmp_path, LINE, 'train')[0]['data_samples'].gt_instances.bboxes) == 6


@coco
@pytest.mark.parametrize('split', ['train', 'val'])
def test_people_of_coco(tmp_path, split):
    original = COCO / f'annotations/annotation_{split}.odgt'
    with pytest.raises(DataError, match=r'line 1: box 1: hbox is not four numbers but None'):
        shipped(COCO, original, split, f'{split}2017/')
    # COCO has no boxes of heads, which CrowdHuman's format demands and nothing here reads.
    records = [json.loads(row) for row in original.read_text().splitlines()]
    for record in records:
        for box in record['gtboxes']:
            box['hbox'] = box['vbox']
    ann_file = tmp_path / f'annotation_{split}.odgt'
    ann_file.write_text(''.join(json.dumps(record) + '\n' for record in records))
    data = shipped(COCO, ann_file, 'val', f'{split}2017/')
    check(data, ann_file)
    people = sum(map(len, people_of(ann_file)))
    scores = perfect(data, ann_file)
    assert scores['mAP'] == pytest.approx(1 - 1 / people, abs=0.01)
    assert scores['mMR'] == 0
