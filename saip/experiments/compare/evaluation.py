"""Evaluate one frozen network of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from saip.datasets.annotated import KeypointCrops, PartCrops
from saip.datasets.retrieval import RetrievalImages
from saip.evaluation.bootstrap import sum_by_identity
from saip.evaluation.collapse import feature_spread
from saip.evaluation.features import normalize
from saip.evaluation.retrieval import score_labeled
from saip.evaluation.two_view import two_view_hits
from saip.experiments.compare.length import HOLDOUT
from saip.experiments.compare.settings import Comparison
from saip.experiments.compared_encoders import open_images
from saip.experiments.dense_eval import MIOU, PCK, evaluate_dense
from saip.experiments.frozen_eval import FrozenEncoder, encode_frozen
from saip.models.selfsup.predicting import Feature
from saip.synthetic.formats.coco import write_coco
from saip.synthetic.formats.lip import write_lip

RANK, MAP, RECALL = 'Rank-1', 'mAP', 'two-view recall'
SHARPNESS, SPREAD = 'effective rank', 'feature spread'
_BATCH = 64
_ANY_SIZE = (64, 32)


@dataclass(frozen=True)
class Evaluated:
    """What a network reaches.

    Attributes:
        metrics: by name, in percent but for the last two: the effective rank, and the standard
            deviation of the features over the one they had if they were spread evenly.
        sums: what the figures are made of, for their intervals: of each identity its queries, and
            the sums of their hits at rank 1 and of their average precisions (under mAP); of each
            image 1 and whether it is recalled, its annotated keypoints and those that are found,
            and (3 C) of its pixels the right, annotated and predicted ones by class (under the
            names of these figures).
    """

    metrics: dict[str, float]
    sums: dict[str, list[list[float]]]


def evaluate_network(
    encoder: FrozenEncoder,
    preprocessor: nn.Module,
    size: tuple[int, int],
    comparison: Comparison,
    feature: Feature,
    has_patches: bool = True,
    has_token: bool = True,
) -> Evaluated:
    """Retrieve, recall held-back images, and fit both probes.

    Args:
        encoder: the network.
        preprocessor: normalizes its images.
        size: (h, w) at which images are encoded.
        comparison: what it is evaluated on.
        feature: what is read of it to retrieve.
        has_patches: it has patch tokens, so that the dense measures mean something.
        has_token: it has an image token.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a set cannot be used, or features are not finite.
    """
    device = torch.device(comparison.device)
    metrics: dict[str, float] = {}
    sums: dict[str, list[list[float]]] = {}
    settings: dict[str, Any] = dict(
        preprocessor=preprocessor,
        batch_size=_BATCH,
        num_workers=comparison.workers,
        feature=feature,
        device=device,
        progress=False,
    )
    if has_token:
        images = RetrievalImages(str(comparison.retrieval), size)
        features, labels = encode_frozen({'': encoder}, images, **settings)
        rows = normalize(features[''][:, 0].to(device))
        scores = score_labeled(rows, labels)
        sums[MAP] = _identities(scores.first, scores.precision, labels)
        summary, spread = scores.summary(), feature_spread(rows)
        metrics = {RANK: summary['Rank-1'], MAP: summary['mAP']}
        hits = _recall(encoder, size, comparison, settings)
        metrics[RECALL] = 100 * float(hits.mean())
        sums[RECALL] = [[1.0, hit] for hit in hits.tolist()]
        metrics |= {
            SHARPNESS: spread.effective_rank,
            SPREAD: spread.std / spread.healthy_std,
        }
    if has_patches:
        dense = evaluate_dense(
            encoder, comparison.dense, preprocessor, size, device, comparison.workers
        )
        metrics |= dense.metrics()
        sums[MIOU] = dense.pixels.reshape(len(dense.pixels), -1).tolist()
        sums[PCK] = dense.keypoints.tolist()
    return Evaluated(metrics, sums)


def prepare_sets(comparison: Comparison) -> None:
    """Look at the sets before the first training; draw the annotated ones that were not given.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a set cannot be used.
    """
    len(RetrievalImages(str(comparison.retrieval)))
    workers = max(1, comparison.workers)
    # Given sets first: nothing is drawn before they are right.
    for given in (True, False):
        if (comparison.parts is not None) is given:
            if not given:
                write_lip(comparison.dense.parts, 'small', workers=workers)
            for split in ('train', 'val'):
                PartCrops(comparison.dense.parts, split, _ANY_SIZE)[0]
        if (comparison.keypoints is not None) is given:
            if not given:
                write_coco(comparison.dense.keypoints, 'small', workers=workers)
            for split in ('train', 'val'):
                KeypointCrops(comparison.dense.keypoints, split, _ANY_SIZE)[0]


def _recall(
    encoder: FrozenEncoder,
    size: tuple[int, int],
    comparison: Comparison,
    settings: dict[str, Any],
) -> torch.Tensor:
    held_back = open_images(comparison.data, size, HOLDOUT)
    features, _ = encode_frozen({'': encoder}, held_back, **settings)
    first, second = features[''].to(settings['device']).unbind(dim=1)
    return two_view_hits(first, second).cpu()


def _identities(
    first: torch.Tensor, precision: torch.Tensor, labels: dict[str, np.ndarray]
) -> list[list[float]]:
    scored = (first > 0).numpy()
    pids = labels['pid'][labels['is_query'].astype(bool)][scored]
    values = torch.stack([(first == 1).double(), precision], dim=1).numpy()[scored]
    return sum_by_identity(values, pids).tolist()
