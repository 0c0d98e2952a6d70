"""Scores of attribute recognition: by attribute (mA), and by image."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from saip.registry import METRICS

THRESHOLD = 0.5


def balanced_accuracies(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean of the true positive and the true negative rate, (A,); their mean is mA.

    A rate of nothing counts as 0, as in the baseline: an attribute that no image shows has
    at most 0.5.

    Args:
        predicted: (N, A) bool.
        truth: (N, A) bool.
    """
    positives, negatives = truth.sum(0), (~truth).sum(0)
    found = (predicted & truth).sum(0) / np.maximum(positives, 1)
    refused = (~predicted & ~truth).sum(0) / np.maximum(negatives, 1)
    return (found + refused) / 2


def image_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy, precision, recall: means over images; F1 of the means, not mean of F1.

    Accuracy is the share of the attributes common to prediction and truth among those of either.
    A share of nothing counts as 0, as in the baseline.

    Args:
        predicted: (N, A) bool.
        truth: (N, A) bool.
    """
    common = (predicted & truth).sum(1)

    def share(of: np.ndarray) -> float:
        return float(np.mean(common / np.maximum(of.sum(1), 1)))

    precision, recall = share(predicted), share(truth)
    total = precision + recall
    return {
        'accuracy': share(predicted | truth),
        'precision': precision,
        'recall': recall,
        'F1': 2 * precision * recall / total if total else 0.0,
    }


@METRICS.register_module()
class AttributeMetric(BaseMetric):
    """mA, and accuracy, precision, recall and F1 by image, in percent; the mean loss.

    Reads predictions with ``pred_score`` and ``gt_score``, (A,), and ``loss`` if there is one.
    An attribute is predicted where its probability is above 0.5.

    Args:
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'attributes'

    def __init__(self, collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep predictions and labels of a batch, one result per image in order."""
        for sample in data_samples:
            result = {
                'predicted': (sample['pred_score'] > THRESHOLD).cpu().numpy(),
                'truth': (sample['gt_score'] > 0.5).cpu().numpy(),
            }
            if 'loss' in sample:
                result['loss'] = float(sample['loss'])
            self.results.append(result)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images, and name the attributes that cannot be scored fully."""
        predicted = np.stack([result['predicted'] for result in results])
        truth = np.stack([result['truth'] for result in results])
        self._report_constant(truth)
        # mA first: checkpoint hooks with save_best='auto' follow the first metric.
        scores = {'mA': float(balanced_accuracies(predicted, truth).mean())}
        scores.update(image_scores(predicted, truth))
        metrics = {name: 100 * value for name, value in scores.items()}
        if all('loss' in result for result in results):
            metrics['loss'] = float(np.mean([result['loss'] for result in results]))
        return metrics

    def _report_constant(self, truth: np.ndarray) -> None:
        constant = np.flatnonzero(truth.all(0) | ~truth.any(0))
        if len(constant):
            names = (self.dataset_meta or {}).get('classes', range(truth.shape[1]))
            listed = ', '.join(str(names[i]) for i in constant)
            print_log(
                f'{len(constant)} of {truth.shape[1]} attributes are shown by none or by all of '
                f'the images; mA counts at most 50 % for each of them: {listed}',
                logger='current',
                level=logging.WARNING,
            )
