"""What a search found, as images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saip.evaluation.features import normalize
from saip.visualization.retrieval import RankedList


def rank_queries(
    features: Tensor,
    labels: Mapping[str, np.ndarray],
    paths: Sequence[str],
    queries: int = 10,
    found: int = 10,
) -> list[RankedList]:
    """Return the nearest gallery images of some queries, evenly spread over all of them.

    Images of the query's identity under its own camera are left out, as in the metric.

    Args:
        features: (N, D) of queries and gallery.
        labels: (N,) arrays ``pid``, ``camid`` and ``is_query`` (1 query, 0 gallery).
        paths: N files.
        queries: how many queries.
        found: how many images of each.
    """
    features = normalize(features)
    pid, camid = labels['pid'], labels['camid']
    numbers = np.flatnonzero(labels['is_query'])
    places = np.linspace(0, len(numbers) - 1, min(queries, len(numbers))).round().astype(int)
    lists = []
    for query in numbers[places]:
        removed = (pid == pid[query]) & (camid == camid[query])
        allowed = np.flatnonzero((labels['is_query'] == 0) & ~removed)
        near = (features[torch.from_numpy(allowed)] @ features[query]).cpu().numpy()
        best = allowed[np.argsort(-near, kind='stable')[:found]]
        images = [Image.open(paths[i]).convert('RGB') for i in best]
        hits = (pid[best] == pid[query]).tolist()
        lists.append(RankedList(Image.open(paths[query]).convert('RGB'), images, hits))
    return lists
