"""The measures of multiple human parsing over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from saip.datasets.cihp import PARTS
from saip.registry import METRICS

from .scores import (
    Ranked,
    average_precision,
    correct_parts,
    label_areas,
    match_people,
    mean_iou,
    paint,
)

THRESHOLDS = np.arange(1, 10) / 10


@METRICS.register_module()
class ParsingMetric(BaseMetric):
    """mIoU, AP^p_50, AP^p_vol and PCP_50, in percent.

    - ``mIoU``: people are painted into one map, better-scored ones over others, and compared with
      the labels of the whole image; mean over labels, the background included.
    - ``APp_50``: a detection is right if it is the first of its person and its mean IoU over
      labels is above 0.5; area below precision over recall.
    - ``APp_vol``: mean of this over the thresholds 0.1 to 0.9.
    - ``PCP_50``: share of a person's parts whose IoU is above 0.5, in the detection that is right
      at 0.5; mean over people.

    Reads ``gt_instances.masks`` (labels), ``gt_sem_seg``, and ``pred_instances`` with ``scores``
    and ``parsings``. Of an image only numbers are kept: three per label and four per detection.
    A sum over images would be smaller still, but would count the images twice with which a sampler
    fills up the last batches of several processes.

    Args:
        least_score: detections below it do not count.
        painted_score: detections below it are not painted.
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'parsing'

    def __init__(
        self,
        least_score: float = 0.001,
        painted_score: float = 0.3,
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.least_score = least_score
        self.painted_score = painted_score

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Reduce each image to its numbers."""
        self.results += [self._judge(sample) for sample in data_samples]

    def _judge(self, sample: dict) -> dict[str, Any]:
        maps = sample['gt_instances']['masks'].masks
        annotated = sample['gt_sem_seg']['sem_seg'][0].cpu().numpy()
        scores = sample['pred_instances']['scores'].cpu().numpy()
        found = sample['pred_instances']['parsings']
        kept = np.flatnonzero(scores >= self.least_score)
        found, scores = [found[i] for i in kept], scores[kept]
        painted = paint(found, scores, annotated.shape, self.painted_score)
        return dict(
            areas=label_areas(painted, annotated, len(PARTS)),
            people=len(maps),
            with_parts=sum(bool(labels.any()) for labels in maps),
            scores=scores,
            **match_people(found, maps, len(PARTS))._asdict(),
        )

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images."""
        people = np.array([result['people'] for result in results])
        ranked = _rank(results, np.cumsum(people) - people)
        total = int(people.sum())
        precisions = [average_precision(ranked.right(t), total) for t in THRESHOLDS]
        scores = {
            'mIoU': mean_iou(sum(result['areas'] for result in results)),
            'APp_50': average_precision(ranked.right(0.5), total),
            'APp_vol': float(np.mean(precisions)),
            'PCP_50': correct_parts(ranked, sum(result['with_parts'] for result in results)),
        }
        return {name: 100 * score for name, score in scores.items()}


def _rank(results: list[dict[str, Any]], before: np.ndarray) -> Ranked:
    """All detections by descending score; people are numbered from ``before`` of their image."""
    scores, overlap, share = (
        np.concatenate([result[key] for result in results])
        for key in ('scores', 'overlap', 'share')
    )
    person = np.concatenate([
        np.where(result['person'] < 0, -1, result['person'] + first)
        for result, first in zip(results, before, strict=True)
    ])  # fmt: skip
    order = np.argsort(-scores, kind='stable')
    return Ranked(overlap[order], person[order], share[order])
