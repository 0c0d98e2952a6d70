"""mIoU, mAcc and pixel accuracy through the segmentor and mmsegmentation's metric, by hand."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from saip.downstream.part_segmentation.affine import fit

from .small import segmentor


def evaluate(pairs, num_classes):
    """Predicted label maps go through the segmentor as logits of a crop twice as large."""
    model = segmentor(num_classes)
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=[str(n) for n in range(num_classes)])
    for predicted, truth in pairs:
        predicted, truth = torch.tensor(predicted), torch.tensor(truth)
        size = tuple(truth.shape)
        crop = predicted.repeat_interleave(2, 0).repeat_interleave(2, 1)
        logits = torch.nn.functional.one_hot(crop, num_classes).permute(2, 0, 1)[None].float()
        sample = SegDataSample(gt_sem_seg=PixelData(data=truth[None]))
        affine = fit(size, tuple(crop.shape))
        sample.set_metainfo(dict(ori_shape=size, affine=affine))
        (sample,) = model.postprocess_result(logits, [sample])
        metric.process({}, [sample.to_dict()])
    return metric.evaluate(size=len(pairs))


def test_ignored_pixels_count_nowhere():
    pairs = [
        # Without the two ignored pixels: 0 right, 0 right, 1 taken for 2, 1 right.
        ([[0, 0, 1], [2, 1, 2]], [[0, 0, 255], [1, 1, 255]]),
        # 2 right, 2 taken for 0, 2 right.
        ([[2, 0, 2]], [[2, 2, 2]]),
    ]
    scores = evaluate(pairs, 3)
    # Class 0: 2 of 3 in the union, 2 of 2 labels; class 1: 1 of 2, 1 of 2; class 2: 2 of 4, 2 of 3.
    assert scores['mIoU'] == pytest.approx(100 * (2 / 3 + 1 / 2 + 1 / 2) / 3, abs=0.006)
    assert scores['mAcc'] == pytest.approx(100 * (1 + 1 / 2 + 2 / 3) / 3, abs=0.006)
    assert scores['aAcc'] == pytest.approx(100 * 5 / 7, abs=0.006)


def test_an_absent_class_counts_only_where_it_is_predicted():
    scores = evaluate([([[0, 0, 1, 3]], [[0, 0, 1, 1]])], 5)
    # Class 3 has no label: IoU 0, no accuracy. Classes 2 and 4 are nowhere: no part of the means.
    assert scores['mIoU'] == pytest.approx(100 * (1 + 1 / 2 + 0) / 3, abs=0.006)
    assert scores['mAcc'] == pytest.approx(100 * (1 + 1 / 2) / 2, abs=0.006)
    assert scores['aAcc'] == pytest.approx(75, abs=0.006)
