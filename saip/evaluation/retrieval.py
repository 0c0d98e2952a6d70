"""Cross-camera retrieval with frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.cmc import QueryScores, score_queries
from saip.evaluation.collapse import feature_spread
from saip.evaluation.features import branches_in, normalize, rows_of, stack_branch
from saip.registry import METRICS


@METRICS.register_module()
class RetrievalMetric(BaseMetric):
    """Rank-k and mAP of the frozen student and expert, with collapse statistics of both.

    Reads predictions ``dict(student=(D,), expert=(D,), pid, camid, is_query)``, ``expert``
    optional, and reports for each network ``Rank-k`` and ``mAP`` in percent and the statistics
    of :func:`saip.evaluation.collapse.feature_spread` over query and gallery.

    Args:
        ranks: the ranks k of ``Rank-k``.
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'retrieval'

    def __init__(
        self,
        ranks: Sequence[int] = (1, 5, 10),
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ranks = tuple(ranks)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the features and labels of a batch, one result per sample in order.

        Raises:
            ValueError: the predictions carry no identities.
        """
        for row, sample in zip(rows_of(data_samples), data_samples, strict=True):
            if 'pid' not in sample:
                raise InputError(
                    'saip.RetrievalMetric needs labeled images (pid, camid, is_query); for '
                    'images without labels use saip.TwoViewRecall'
                )
            labels = {key: int(sample[key]) for key in ('pid', 'camid', 'is_query')}
            self.results.append({**row, **labels})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images; see :func:`cmc_map`."""
        labels = {
            key: np.array([result[key] for result in results])
            for key in ('pid', 'camid', 'is_query')
        }
        metrics: dict[str, float] = {}
        for branch in branches_in(results):
            features = normalize(stack_branch(results, branch), f'{branch} features')
            scores = score_retrieval(features, labels, self.ranks)
            # mAP first: checkpoint hooks with save_best='auto' follow the first metric.
            for name in ('mAP', *(f'Rank-{k}' for k in self.ranks)):
                metrics[f'{branch}_{name}'] = scores[name]
            metrics.update(feature_spread(features).as_metrics(branch))
        metrics['images'] = len(results)
        return metrics


def score_retrieval(
    features: Tensor, labels: Mapping[str, np.ndarray], ranks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """Split (N, D) features into queries and gallery by ``labels`` and score them.

    Args:
        features: (N, D).
        labels: (N,) arrays ``pid``, ``camid`` and ``is_query`` (1 query, 0 gallery).
        ranks: the ranks k of ``Rank-k``.
    """
    return score_labeled(features, labels).summary(ranks)


def score_labeled(features: Tensor, labels: Mapping[str, np.ndarray]) -> QueryScores:
    """The same, query by query, in the order of the queries."""
    query = labels['is_query'].astype(bool)
    chosen = torch.from_numpy(query).to(features.device)
    pid, camid = labels['pid'], labels['camid']
    return score_queries(
        features[chosen],
        features[~chosen],
        pid[query],
        pid[~query],
        camid[query],
        camid[~query],
    )
