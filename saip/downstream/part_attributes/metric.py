"""Average precision of garments whose attributes have to be right, over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_masks

from saip.datasets.fashionpedia import ATTRIBUTED, CATEGORIES, DressedImage, read_fashionpedia
from saip.registry import METRICS

from .outlines import run_lengths
from .scores import (
    F1_THRESHOLDS,
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    Matches,
    average_precision,
    macro_f1,
    match,
    match_plain,
)

_OUTLINES = ('bbox', 'segm')


class _Outlines(NamedTuple):
    """Annotated garments of an image, as pycocotools compares them.

    Attributes:
        categories: (G,) int.
        crowd: (G,) bool.
        attributes: (G, A) bool.
        bbox: (G, 4) x, y, width, height.
        segm: run lengths.
    """

    categories: np.ndarray
    crowd: np.ndarray
    attributes: np.ndarray
    bbox: np.ndarray
    segm: list[dict[str, Any]]


@METRICS.register_module()
class FashionpediaMetric(BaseMetric):
    """``bbox_AP`` and ``segm_AP`` at IoU and F1, in percent, as the published evaluator has them.

    A detection is right if its IoU with a garment of its category and the F1 of its attributes
    (mean over present and absent ones) reach the thresholds 0.5, 0.55 ... 0.95 each. Of a category
    whose attributes are not looked at (28 of the 46) only the IoU counts. The mean goes over all
    slices, one for each category and pair of thresholds: a category with attributes has 100 of
    them, another 10. Categories of which no image has a garment are left out. ``bbox_AP_iou`` and
    ``segm_AP_iou`` ask for no attributes.

    Annotations come from the file; the images that count are those that are predicted. Reads
    ``pred_instances`` with ``bboxes``, ``scores``, ``labels``, ``masks`` and ``attributes`` (N, A)
    bool; the human is left out. Of an image only what was matched is kept.

    Args:
        ann_file: the annotations of the images.
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is of another form.
    """

    default_prefix = 'fashionpedia'

    def __init__(
        self, ann_file: str, collect_device: str = 'gpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        annotated = read_fashionpedia(Path(ann_file))
        self.num_attributes = len(annotated.attributes)
        self.images = annotated.images

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Match the detections of each image."""
        self.results += [self._judge(sample) for sample in data_samples]

    def _judge(self, sample: dict) -> dict[str, Any]:
        identity = sample['img_id']
        annotated = _outlines(self.images[identity], self.num_attributes)
        predicted = sample['pred_instances']
        labels = predicted['labels'].cpu().numpy()
        kept = _best_of_each(labels, predicted['scores'].cpu().numpy())
        labels, scores = labels[kept], predicted['scores'].cpu().numpy()[kept]
        attributes = predicted['attributes'].cpu().numpy()[kept].astype(bool)
        found = dict(
            bbox=_xywh(predicted['bboxes'].cpu().numpy()[kept]),
            segm=_run_lengths(predicted['masks'].cpu().numpy()[kept]),
        )
        f1s = macro_f1(attributes, annotated.attributes)
        counts = np.bincount(annotated.categories[~annotated.crowd], minlength=len(CATEGORIES))
        return dict(
            image=identity,
            labels=labels,
            scores=scores,
            garments=counts,
            matches={
                kind: _match_image(labels, found[kind], f1s, annotated, kind)
                for kind in _OUTLINES
            },
        )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images."""
        # Among equal scores the images' order decides, which several processes do not keep.
        results = sorted(results, key=lambda result: result['image'])
        garments = sum(result['garments'] for result in results)
        labels, scores = (
            np.concatenate([result[key] for result in results]) for key in ('labels', 'scores')
        )
        metrics = {}
        for kind in _OUTLINES:
            rows = [result['matches'][kind] for result in results]
            matches = Matches(*map(np.concatenate, zip(*rows, strict=True)))
            with_f1, without = [], []
            for category in np.flatnonzero(garments):
                own = labels == category
                precision = average_precision(
                    scores[own], Matches(*(part[own] for part in matches)), garments[category]
                )
                without.append(precision[:, -1])
                looked_at = category in ATTRIBUTED
                with_f1.append(precision[:, :-1].ravel() if looked_at else precision[:, -1])
            metrics[f'{kind}_AP'] = _percent(with_f1)
            metrics[f'{kind}_AP_iou'] = _percent(without)
        return metrics


def _percent(slices: list[np.ndarray]) -> float:
    """Mean over all slices; not a number where there is no garment to be found."""
    return 100 * float(np.concatenate(slices).mean()) if slices else float('nan')


def _outlines(image: DressedImage, num_attributes: int) -> _Outlines:
    garments = image.garments
    attributes = np.zeros((len(garments), num_attributes), bool)
    for row, garment in enumerate(garments):
        attributes[row, list(garment.attributes)] = True
    return _Outlines(
        np.array([garment.category for garment in garments], np.int64),
        np.array([garment.crowd for garment in garments], bool),
        attributes,
        np.array([garment.bbox for garment in garments], np.float64).reshape(-1, 4),
        [run_lengths(garment.segmentation, image.size) for garment in garments],
    )


def _best_of_each(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Indices of the detections that count, by category and descending score."""
    kept = []
    for category in range(len(CATEGORIES)):
        own = np.flatnonzero(labels == category)
        order = np.argsort(-scores[own], kind='stable')[:MAX_DETECTIONS]
        kept.append(own[order])
    return np.concatenate(kept)


def _xywh(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _run_lengths(masks: np.ndarray) -> list[dict[str, Any]]:
    """Run lengths of masks (N, h, w)."""
    return [coco_masks.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


def _match_image(
    labels: np.ndarray, found: Any, f1s: np.ndarray, annotated: _Outlines, kind: str
) -> Matches:
    """Matches of all detections of an image.

    Those of a category without attributes are at the last F1 threshold alone.

    Args:
        labels: (D,).
        found: their boxes or run lengths.
        f1s: (D, G).
        annotated: G garments.
        kind: 'bbox' or 'segm'.
    """
    shape = (len(labels), len(IOU_THRESHOLDS), len(F1_THRESHOLDS))
    matches = Matches(np.zeros(shape, bool), np.zeros(shape, bool))
    outlines = getattr(annotated, kind)
    for category in np.unique(labels):
        own = np.flatnonzero(labels == category)
        there = np.flatnonzero(annotated.categories == category)
        if not there.size:
            continue
        crowd = annotated.crowd[there]
        ious = _ious([found[i] for i in own], [outlines[i] for i in there], crowd)
        if category in ATTRIBUTED:
            result = match(ious, f1s[np.ix_(own, there)], crowd)
            matches.found[own], matches.ignored[own] = result
        else:
            result = match_plain(ious, crowd)
            matches.found[own, :, -1:], matches.ignored[own, :, -1:] = result
    return matches


def _ious(found: list, annotated: list, crowd: np.ndarray) -> np.ndarray:
    """IoU (D, G) of boxes or of run lengths; over the area of the detection with a crowd."""
    flags = crowd.astype(np.uint8).tolist()
    if isinstance(found[0], dict):
        return coco_masks.iou(found, annotated, flags)
    return coco_masks.iou(np.stack(found), np.stack(annotated), flags)
