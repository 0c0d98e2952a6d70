"""Weighted k-NN classification in bounded memory.

Shapes: N images to learn from, M to test, D channels, C classes or attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.collapse import feature_spread
from saip.evaluation.features import branches_in, normalize, rows_of, stack_branch
from saip.registry import METRICS

TEMPERATURE = 0.07
NEIGHBORS = (10, 20, 100, 200)
"""Numbers of neighbors that DINO (arXiv:2104.14294) reports."""

TEST_ROWS, TRAIN_ROWS = 512, 65536
"""Rows that are compared at once: a block of similarities of 128 MiB in float32."""


def nearest(
    train: Tensor,
    test: Tensor,
    count: int,
    test_rows: int = TEST_ROWS,
    train_rows: int = TRAIN_ROWS,
) -> tuple[Tensor, Tensor]:
    """Cosines and places of the nearest rows of ``train`` to each row of ``test``.

    Both are compared block by block, so that memory does not grow with N x M.

    Args:
        train: (N, D) of unit length.
        test: (M, D) of unit length.
        count: of neighbors, at most N.
        test_rows: rows of ``test`` in a block.
        train_rows: rows of ``train`` in a block.

    Returns:
        (M, count) cosines, largest first, and (M, count) int64 places.
    """
    values, places = [], []
    for queries in test.split(test_rows):
        best = queries.new_full((len(queries), 0), 0.0)
        where = torch.empty(len(queries), 0, dtype=torch.long, device=queries.device)
        for first in range(0, len(train), train_rows):
            similar = queries @ train[first : first + train_rows].T
            found, at = similar.topk(min(count, similar.shape[1]), dim=1)
            best, where = torch.cat([best, found], 1), torch.cat([where, at + first], 1)
            best, order = best.topk(min(count, best.shape[1]), dim=1)
            where = where.gather(1, order)
        values.append(best)
        places.append(where)
    return torch.cat(values), torch.cat(places)


def vote(cosines: Tensor, targets: Tensor, classes: int, temperature: float) -> Tensor:
    """Scores of classes by the votes of neighbors.

    A neighbor weighs exp(cosine / temperature) (Wu et al., arXiv:1805.01978).

    Args:
        cosines: (m, k) of the neighbors.
        targets: (m, k) their classes, or (m, k, C) their attributes.
        classes: number C.
        temperature: of the weights.

    Returns:
        (m, C) shares of the weights.
    """
    weights = (cosines / temperature).softmax(1)
    if targets.ndim == 3:
        return (weights[..., None] * targets).sum(1)
    scores = weights.new_zeros(len(weights), classes)
    return scores.scatter_add_(1, targets, weights)


def knn_scores(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    classes: int,
    neighbors: Sequence[int] = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> dict[int, Tensor]:
    """Scores of classes of test images, by the number of neighbors.

    Args:
        train: (N, D) features.
        targets: (N,) classes or (N, C) attributes of them.
        test: (M, D) features.
        classes: number C.
        neighbors: numbers k; those above N are left out, but if all are, N is taken.
        temperature: of the weights.

    Returns:
        (M, C) by k. Only these grow with M x C.

    Raises:
        InputError: features are not finite.
    """
    train, test = normalize(train), normalize(test)
    fitting = [k for k in sorted(neighbors) if k <= len(train)] or [len(train)]
    cosines, places = nearest(train, test, fitting[-1])
    found: dict[int, Tensor] = {}
    for k in fitting:
        blocks = [
            vote(c[:, :k], targets[p[:, :k]], classes, temperature)
            for c, p in zip(cosines.split(TEST_ROWS), places.split(TEST_ROWS), strict=True)
        ]
        found[k] = torch.cat(blocks)
    return found


def knn_accuracy(
    train: Tensor,
    targets: Tensor,
    test: Tensor,
    truth: Tensor,
    neighbors: Sequence[int] = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> dict[int, float]:
    """Accuracy in percent by the number of neighbors; scores are kept for one block at a time.

    Args: as of :func:`knn_scores`, of classes alone; ``truth`` (M,) those of the test images.
    """
    train, test = normalize(train), normalize(test)
    classes = int(max(targets.max(), truth.max())) + 1
    fitting = [k for k in sorted(neighbors) if k <= len(train)] or [len(train)]
    right = dict.fromkeys(fitting, 0)
    for queries, wanted in zip(test.split(TEST_ROWS), truth.split(TEST_ROWS), strict=True):
        cosines, places = nearest(train, queries, fitting[-1])
        for k in fitting:
            scores = vote(cosines[:, :k], targets[places[:, :k]], classes, temperature)
            right[k] += int((scores.argmax(1) == wanted).sum())
    return {k: 100 * count / len(test) for k, count in right.items()}


@METRICS.register_module()
class KNNMetric(BaseMetric):
    """Accuracy of a weighted k-NN classifier on frozen features, with collapse statistics.

    Reads predictions ``dict(student=(D,), expert=(D,), target, is_test)``, ``expert`` optional, and
    reports for each network ``kNN`` in percent and the statistics of
    :func:`saip.evaluation.collapse.feature_spread` over the images of both parts.

    Args:
        neighbors: k.
        temperature: of the votes.
        collect_device: how results of several processes meet, see ``saip.RetrievalMetric``.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'neighbors'

    def __init__(
        self,
        neighbors: int = 20,
        temperature: float = TEMPERATURE,
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.neighbors = neighbors
        self.temperature = temperature

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Keep features and labels of a batch.

        Raises:
            InputError: the predictions carry no classes.
        """
        for sample, row in zip(data_samples, rows_of(data_samples), strict=True):
            if 'target' not in sample:
                raise InputError(
                    'saip.KNNMetric needs images with classes (saip.LabeledParts); for a set with '
                    'query and gallery use saip.RetrievalMetric, for others saip.TwoViewRecall'
                )
            labels = {key: int(sample[key]) for key in ('target', 'is_test')}
            self.results.append(row | labels)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Accuracy of each network.

        Raises:
            InputError: one of the two parts is empty.
        """
        tests = torch.from_numpy(np.array([r['is_test'] for r in results], dtype=bool))
        if tests.all() or not tests.any():
            raise InputError('k-NN needs images to learn from and images to test on')
        targets = torch.tensor([r['target'] for r in results])
        metrics: dict[str, float] = {}
        for branch in branches_in(results):
            features = normalize(stack_branch(results, branch), f'{branch} features')
            to = features.device
            found = knn_accuracy(
                features[(~tests).to(to)],
                targets[~tests].to(to),
                features[tests.to(to)],
                targets[tests].to(to),
                (self.neighbors,),
                self.temperature,
            )
            metrics[f'{branch}_kNN'] = next(iter(found.values()))
            metrics.update(feature_spread(features).as_metrics(branch))
        return {**metrics, 'images': len(results)}
