"""CMC and mAP of a test set, and images of what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric

from saip.downstream.reid.ranked import rank_queries
from saip.downstream.reid.rerank import ReRanking, rerank
from saip.evaluation.cmc import cmc_map_from_distance
from saip.evaluation.retrieval import score_retrieval
from saip.registry import METRICS
from saip.visualization.retrieval import draw_ranked_lists

LABELS = ('pid', 'camid', 'is_query')
RANKED_LISTS = 'ranked_lists.png'


@METRICS.register_module()
class ReIDMetric(BaseMetric):
    """mAP and Rank-k in percent, by the rule of :func:`saip.evaluation.cmc.cmc_map`.

    Reads predictions with ``feature`` (D,), ``pid``, ``camid``, ``is_query`` and ``img_path``.
    Features are compared by their angle: the distance of l2-normalized features.

    Args:
        ranks: the ranks k of ``Rank-k``.
        rerank: ``k1``, ``k2`` and ``lambda_value`` of a re-ranking, whose scores are reported
            beside the others as ``reranked_*``; None does none. See
            :class:`saip.downstream.reid.rerank.ReRanking`.
        show_dir: folder for an image of some queries and what was found for them; None draws
            none.
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'reid'

    def __init__(
        self,
        ranks: Sequence[int] = (1, 5, 10),
        rerank: Mapping[str, Any] | None = None,
        show_dir: str | None = None,
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ranks = tuple(ranks)
        self.reranking = None if rerank is None else ReRanking(**rerank)
        self.show_dir = show_dir

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep features and labels of a batch, one result per image in order."""
        # One copy per batch: a copy per image would wait for the device each time.
        features = torch.stack([sample['feature'] for sample in data_samples]).cpu().numpy()
        for feature, sample in zip(features, data_samples, strict=True):
            labels = {key: int(sample[key]) for key in LABELS}
            self.results.append({'feature': feature, 'img_path': sample['img_path'], **labels})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images."""
        features = torch.from_numpy(np.stack([r['feature'] for r in results])).to(get_device())
        labels = {key: np.array([r[key] for r in results]) for key in LABELS}
        # mAP first: checkpoint hooks with save_best='auto' follow the first metric.
        names = ('mAP', *(f'Rank-{k}' for k in self.ranks))
        scores = score_retrieval(features, labels, self.ranks)
        metrics = {name: scores[name] for name in names}
        query = labels['is_query'].astype(bool)
        if self.reranking is not None:
            chosen = torch.from_numpy(query).to(features.device)
            distance = rerank(features[chosen], features[~chosen], self.reranking)
            pid, camid = labels['pid'], labels['camid']
            sides = (pid[query], pid[~query], camid[query], camid[~query])
            scores = cmc_map_from_distance(distance, *sides, self.ranks)
            metrics.update({f'reranked_{name}': scores[name] for name in names})
        metrics['queries'] = int(query.sum())
        if self.show_dir is not None:
            self._draw(features, labels, [r['img_path'] for r in results])
        return metrics

    def _draw(
        self, features: torch.Tensor, labels: Mapping[str, np.ndarray], paths: Sequence[str]
    ) -> None:
        folder = Path(str(self.show_dir))
        folder.mkdir(parents=True, exist_ok=True)
        lists = rank_queries(features, labels, paths)
        draw_ranked_lists(lists).save(folder / RANKED_LISTS)
