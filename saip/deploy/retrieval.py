"""Retrieval of persons with the features of an exported model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saip.datasets.canvas import decode_image
from saip.datasets.retrieval import RetrievalImages
from saip.deploy.images import resized
from saip.evaluation.cmc import cmc_map
from saip.structures import Grid
from saip.synthetic.market import MarketSpec, write_market1501

POINTS = 1.0
"""Largest loss of mAP in points of percent."""

METRICS = ('mAP', 'Rank-1')

EMBEDDED = MarketSpec(1, 24, cameras=3, distractors=12)
"""Synthetic persons to be retrieved: 72 queries, 156 gallery images."""


@dataclass(frozen=True)
class RetrievalSet:
    """Queries and gallery at the size of a model.

    Attributes:
        name: of the set, for messages.
        images: (N, h, w, 3) uint8, queries first.
        records: ``pid``, ``camid`` and ``is_query`` of each.
    """

    name: str
    images: np.ndarray
    records: Sequence[dict[str, Any]]

    def score(self, feature: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
        """``mAP`` and ``Rank-1`` in percent of features (N, D) of the images."""
        labels = {
            key: np.array([record[key] for record in self.records])
            for key in ('pid', 'camid', 'is_query')
        }
        query = labels['is_query'] == 1
        rows = torch.from_numpy(feature(self.images).astype(np.float32))
        found = cmc_map(
            rows[query],
            rows[~query],
            labels['pid'][query],
            labels['pid'][~query],
            labels['camid'][query],
            labels['camid'][~query],
        )
        return {name: found[name] for name in METRICS}


@lru_cache(maxsize=1)  # several files of one size are measured on the same persons
def read_retrieval_set(
    root: str | os.PathLike[str] | None, size: Grid, resize: str
) -> RetrievalSet:
    """Read a set in Market-1501 layout; without one, draw synthetic persons.

    Raises:
        MissingFileError: a folder is missing.
        DataError: a file has another name than the layout's, or cannot be read.
    """
    if root is not None:
        return _read(root, str(root), size, resize)
    with tempfile.TemporaryDirectory(prefix='saip-persons-') as folder:
        people = Path(folder) / 'persons'
        write_market1501(people, EMBEDDED)
        return _read(people, 'synthetic persons', size, resize)


def _read(root: str | os.PathLike[str], name: str, size: Grid, resize: str) -> RetrievalSet:
    records = RetrievalImages(str(root), size).load_data_list()
    images = [resized(decode_image(record['img_path']), size, resize) for record in records]
    return RetrievalSet(name, np.stack(images), records)


def keeps(before: dict[str, float], after: dict[str, float]) -> bool:
    """Whether mAP has lost no more than a point, or there is none.

    Rank-1 does not decide: of a hundred queries every single one is a point.
    """
    return not before or before['mAP'] - after['mAP'] <= POINTS


def format_scores(scores: dict[str, float]) -> str:
    """Metrics as one text."""
    return ', '.join(f'{name} {scores[name]:.1f}' for name in METRICS)
