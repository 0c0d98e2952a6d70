"""The mean over scales and mirror images, against a second implementation; its options."""

import numpy as np
import pytest
import torch

from saip.downstream.part_segmentation import PartIoUMetric
from saip.downstream.part_segmentation.multi_scale import average_logits, exchanged
from saip.errors import InputError

from .small import SIZE, batch, segmentor

PAIRS = [(1, 2)]
CROP, IMAGE = (80, 48), (50, 37)
SCALES = (0.65, 1.0, 1.25)
SCALED = [(48, 32), (80, 48), (96, 64)]  # whole cells of 16 pixels: of 52x31.2 and 100x60


def bilinear(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, h, w) -> (C, *size), corners on corners, pixel by pixel."""
    height, width = image.shape[1:]
    out = np.zeros((len(image), *size))
    for y in range(size[0]):
        for x in range(size[1]):
            v = y * (height - 1) / max(1, size[0] - 1)
            u = x * (width - 1) / max(1, size[1] - 1)
            top, left = min(int(v), height - 1), min(int(u), width - 1)
            down, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = v - top, u - left
            out[:, y, x] = (1 - a) * ((1 - b) * image[:, top, left] + b * image[:, top, right])
            out[:, y, x] += a * ((1 - b) * image[:, down, left] + b * image[:, down, right])
    return out


def by_hand(model, images: torch.Tensor) -> torch.Tensor:
    """One image, one scale, one direction after the other."""
    answers = []
    for image in images.double().numpy():
        total = np.zeros((4, *CROP))
        for size in SCALED:
            scaled = bilinear(image, size)
            for mirror in (False, True):
                seen = scaled[:, :, ::-1] if mirror else scaled
                logits = model._predict_fused(torch.tensor(seen.copy())[None])[0].numpy()
                large = bilinear(logits, CROP)
                if mirror:
                    large = large[[0, 2, 1, 3]][:, :, ::-1]
                total += large
        answers.append(total / (2 * len(SCALES)))
    return torch.tensor(np.stack(answers))


@torch.no_grad()
def test_the_mean_equals_a_second_implementation():
    model = segmentor(test_cfg=dict(scales=SCALES, flip_pairs=PAIRS), size=CROP).eval()
    data = batch(2, size=CROP, image=IMAGE)
    images = model.data_preprocessor(data)['inputs']
    let_logits_differ(model, images)
    wanted = by_hand(model.double(), images.double())
    found = average_logits(model._predict_fused, images.double(), SCALES, PAIRS)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)

    # The labels of a test: those of the crop, each pixel of the image taking its nearest.
    samples = model.float().test_step(batch(2, size=CROP, image=IMAGE))
    for sample, logits in zip(samples, wanted, strict=True):
        matrix, labels = sample.affine, logits.argmax(0)
        rows = [[nearest(matrix, x, y) for x in range(IMAGE[1])] for y in range(IMAGE[0])]
        restored = torch.tensor([[int(labels[y, x]) for x, y in row] for row in rows])
        assert len(restored.unique()) > 1
        assert (sample.pred_multi_scale.data[0] == restored).float().mean() > 0.995
        assert not torch.equal(sample.pred_multi_scale.data, sample.pred_sem_seg.data)


def let_logits_differ(model, images: torch.Tensor) -> None:
    """Give a new network statistics, and classes that are equally frequent."""
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    model.train()._predict_fused(images)
    logits = model.eval()._predict_fused(images)
    model.decode_head.conv_seg.bias.sub_(logits.mean((0, 2, 3)))


def nearest(matrix: np.ndarray, x: int, y: int) -> tuple[int, int]:
    """Column and row of the crop's pixel that a pixel of the image comes from."""
    column, row = (matrix @ (x, y, 1))[:2]
    return min(max(round(column), 0), CROP[1] - 1), min(max(round(row), 0), CROP[0] - 1)


@torch.no_grad()
def test_one_scale_without_mirror_is_the_usual_prediction():
    model = segmentor(test_cfg=dict(scales=(1.0,))).eval()
    (sample, other) = model.test_step(batch(2))
    for one in (sample, other):
        assert torch.equal(one.pred_multi_scale.data, one.pred_sem_seg.data)
    images = model.data_preprocessor(batch(2))['inputs']
    metas = [dict(img_shape=SIZE)] * 2
    usual = model.encode_decode(images, metas)
    assert torch.equal(average_logits(model._predict_fused, images, (1.0,), None), usual)


@torch.no_grad()
def test_a_validation_predicts_once():
    model = segmentor(test_cfg=dict(scales=SCALES, flip_pairs=PAIRS)).eval()
    assert 'pred_multi_scale' not in model.val_step(batch(1))[0]
    assert 'pred_multi_scale' in model.test_step(batch(1))[0]


def test_the_metric_reads_the_prediction_that_it_is_told():
    labels = torch.tensor([[[0, 1], [1, 1]]])
    wrong = torch.zeros_like(labels)
    sample = {
        'gt_sem_seg': {'data': labels},
        'pred_sem_seg': {'data': wrong},
        'pred_multi_scale': {'data': labels},
    }
    scores = {}
    for name in ('pred_sem_seg', 'pred_multi_scale'):
        metric = PartIoUMetric(name)
        metric.dataset_meta = {'classes': ('none', 'part')}
        metric.process({}, [sample])
        scores[name] = metric.evaluate(1)['mIoU']
    assert scores == {'pred_sem_seg': 12.5, 'pred_multi_scale': 100.0}


def test_what_cannot_be_averaged_is_named():
    with pytest.raises(InputError, match=r'scales=\(0,\).*above 0'):
        segmentor(test_cfg=dict(scales=(0,)))
    with pytest.raises(InputError, match=r'flip_pairs: \(3, 4\).*0 to 3'):
        exchanged(4, [(3, 4)])
    with pytest.raises(InputError, match=r'pred_multi_scale; model\.test_cfg\.scales'):
        PartIoUMetric('pred_multi_scale').process({}, [{'pred_sem_seg': {}}])
