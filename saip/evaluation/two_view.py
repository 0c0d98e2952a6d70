"""Two-view recall: a measure of instance discrimination that needs no labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.cmc import BLOCK_ELEMENTS
from saip.evaluation.collapse import feature_spread
from saip.evaluation.features import branches_in, normalize, rows_of, stack_branch
from saip.registry import METRICS


def two_view_recall(first: Tensor, second: Tensor) -> float:
    """Recall at 1 in percent: the mean of :func:`two_view_hits`. Guessing scores ``100 / N``."""
    return 100 * float(two_view_hits(first, second).mean())


def two_view_hits(first: Tensor, second: Tensor) -> Tensor:
    """Say of which images the other view is the nearest among the other views of all.

    Similarity is the cosine; both directions are averaged. A tie is a miss, so that constant
    features score 0.

    Args:
        first: (N, D) features of one view of each image.
        second: (N, D) features of another view of the same images, in the same order.

    Returns:
        (N,) 0, 1/2 or 1.

    Raises:
        ValueError: the shapes differ, there are fewer than two images, or a feature is not
            finite.
    """
    if first.shape != second.shape:
        raise ValueError(
            'two-view recall needs two equally shaped sets of features, got '
            f'{tuple(first.shape)} and {tuple(second.shape)}'
        )
    if len(first) < 2:
        raise InputError(f'two-view recall needs at least two images, got {len(first)}')
    first, second = normalize(first), normalize(second)
    return (_found_first(first, second) + _found_first(second, first)) / 2


def _found_first(query: Tensor, gallery: Tensor) -> Tensor:
    hits = []
    step = max(1, BLOCK_ELEMENTS // len(gallery))
    for start in range(0, len(query), step):
        similarity = query[start : start + step] @ gallery.T
        own = similarity.diagonal(offset=start)[:, None]
        hits.append((similarity >= own).sum(dim=1) == 1)
    return torch.cat(hits).double()


@METRICS.register_module()
class TwoViewRecall(BaseMetric):
    """Two-view recall of the frozen student and expert, with collapse statistics of both.

    Reads predictions ``dict(student=(2, D), expert=(2, D))``, ``expert`` optional: the features
    of two random views of a held-back image. Reports ``recall@1`` and ``chance`` in percent.
    The statistics are those of the first views, one per image.

    Args:
        collect_device: how results of several processes meet. 'gpu' goes through the process
            group (of any backend, gloo too); 'cpu' through files on a disk that all share.
        prefix: before the slash in the names of the results.
    """

    default_prefix = 'two_view'

    def __init__(self, collect_device: str = 'gpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the features of a batch, one result per sample in order.

        Raises:
            ValueError: the predictions do not hold two views.
        """
        for row, sample in zip(rows_of(data_samples), data_samples, strict=True):
            if any(feature.ndim != 2 or len(feature) != 2 for feature in row.values()):
                raise InputError(
                    'saip.TwoViewRecall needs two views per image; for a labeled set with '
                    'query and gallery use saip.RetrievalMetric'
                )
            self.results.append({**row, 'replaced': int(sample.get('replaced', -1))})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Score all images; see :func:`two_view_recall`.

        An image that stands in for an unreadable one has a twin in the set and is left out;
        only here, since results of several processes are put in order by their number.

        Raises:
            ValueError: fewer than two images are left.
        """
        results = [result for result in results if result['replaced'] < 0]
        if not results:
            raise InputError('two-view recall: none of the held-back images could be read')
        metrics: dict[str, float] = {}
        for branch in branches_in(results):
            views = stack_branch(results, branch).transpose(0, 1)
            first, second = (normalize(view, f'{branch} features') for view in views)
            metrics[f'{branch}_recall@1'] = two_view_recall(first, second)
            metrics.update(feature_spread(first).as_metrics(branch))
        return {**metrics, 'images': len(results), 'chance': 100 / len(results)}
