"""Has the network collapsed? Statistics of features and of prototype scores, with verdicts.

Features collapse in two ways: all images get nearly the same feature (the deviation of the
normalized features falls below ``1 / sqrt(d)``, arXiv:2011.10566), or features differ only in a
few directions (the effective rank falls, arXiv:2210.02885). The prototype scores of
self-distillation collapse by becoming uniform (teacher entropy and loss stay at ``ln K``) or by
always naming one prototype (both go to 0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saip.errors import InputError
from saip.evaluation.features import normalize

SpreadState = Literal['collapsed', 'between', 'healthy']
ScoreState = Literal['uniform', 'single', 'between', 'healthy']

# Calibrated on synthetic features (tests) and untrained networks (docs/evaluation.md): on
# varied crops an untrained ViT has a ratio of 0.6 to 0.7 and a rank of 20 to 45, on images of
# one scene 0.3 and 7. Between the two limits the last verdict stands, so that messages do not
# alternate.
COLLAPSED_RATIO, HEALTHY_RATIO = 0.1, 0.2
COLLAPSED_RANK, HEALTHY_RANK = 3.0, 5.0
FULL_RANK_LIMITS_FROM = 40  # images or dimensions; with fewer, ranks are smaller altogether
MIN_SAMPLES = 16
MIN_DIMS = 16
# Shares of ln K. 0.2 % below ln K is what Gaussian scores of standard deviation 0.2 give (K =
# 65,536), far less than scores that tell images apart.
UNIFORM_SHARE, LEFT_UNIFORM_SHARE = 0.998, 0.99
SINGLE_SHARE, LEFT_SINGLE_SHARE = 0.01, 0.03


@dataclass(frozen=True)
class FeatureSpread:
    """How features of N images fill their D dimensions.

    Attributes:
        std: mean over dimensions of the standard deviation of the l2-normalized features.
        healthy_std: ``1 / sqrt(D)``, its value for features spread evenly over the sphere.
        effective_rank: exponential of the entropy of the normalized singular values.
        mean_cosine: mean cosine between different images.
        samples: N.
        dims: D.
    """

    std: float
    healthy_std: float
    effective_rank: float
    mean_cosine: float
    samples: int
    dims: int

    def as_metrics(self, branch: str) -> dict[str, float]:
        """Return the statistics under the names that the metrics report."""
        return {
            f'{branch}_feature_std': self.std,
            f'{branch}_feature_std_healthy': self.healthy_std,
            f'{branch}_effective_rank': self.effective_rank,
            f'{branch}_mean_cosine': self.mean_cosine,
        }

    @classmethod
    def from_metrics(
        cls, metrics: Mapping[str, float], branch: str, images: int
    ) -> FeatureSpread:
        """Read back what :meth:`as_metrics` wrote about ``images`` images."""
        healthy_std = metrics[f'{branch}_feature_std_healthy']
        return cls(
            std=metrics[f'{branch}_feature_std'],
            healthy_std=healthy_std,
            effective_rank=metrics[f'{branch}_effective_rank'],
            mean_cosine=metrics[f'{branch}_mean_cosine'],
            samples=images,
            dims=round(healthy_std**-2),
        )


def feature_spread(features: Tensor) -> FeatureSpread:
    """Measure the spread of (N, D) ``features``.

    Raises:
        ValueError: fewer than two images, or a feature is not finite.
    """
    samples, dims = features.shape
    if samples < 2:
        raise InputError(f'the spread of features needs at least two images, got {samples}')
    features = normalize(features).cpu().double()
    total = features.sum(dim=0)
    pairs = float(total @ total) - float(features.square().sum())
    return FeatureSpread(
        std=float(features.std(dim=0).mean()),
        healthy_std=1 / math.sqrt(dims),
        effective_rank=_effective_rank(features),
        mean_cosine=pairs / (samples * (samples - 1)),
        samples=samples,
        dims=dims,
    )


def _effective_rank(features: Tensor) -> float:
    """RankMe of (N, D) float64 features, from the smaller of the two Gram matrices."""
    rows, columns = features.shape
    gram = features @ features.T if rows < columns else features.T @ features
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    return float(torch.special.entr(share).sum().exp())


def judge_spread(spread: FeatureSpread) -> SpreadState | None:
    """Judge the spread of features; None if there are too few images or dimensions."""
    if spread.samples < MIN_SAMPLES or spread.dims < MIN_DIMS:
        return None
    ratio = spread.std / spread.healthy_std
    scale = min(1, spread.samples / FULL_RANK_LIMITS_FROM, spread.dims / FULL_RANK_LIMITS_FROM)
    if ratio < COLLAPSED_RATIO or spread.effective_rank < scale * COLLAPSED_RANK:
        return 'collapsed'
    if ratio > HEALTHY_RATIO and spread.effective_rank > scale * HEALTHY_RANK:
        return 'healthy'
    return 'between'


def describe_spread(subject: str, state: SpreadState | None, spread: FeatureSpread) -> str:
    """Say in words what ``state`` means for the features of ``subject``."""
    numbers = (
        f'standard deviation {spread.std:.2g} against {spread.healthy_std:.2g} for healthy '
        f'features of {spread.dims} dimensions, effective rank {spread.effective_rank:.1f} of '
        f'at most {min(spread.dims, spread.samples)}, mean cosine between different images '
        f'{spread.mean_cosine:.3f}'
    )
    if state != 'collapsed':
        return f'{subject}: features have recovered: {numbers}'
    if spread.std < COLLAPSED_RATIO * spread.healthy_std:
        manner = 'all images get nearly the same feature'
    else:
        manner = 'images differ in only a few directions'
    return (
        f'{subject}: features have collapsed, {manner}: {numbers}; likely causes: a learning '
        'rate too high for the batch size, a teacher temperature too high or a teacher center '
        'that does not move, too small a batch, or views that hardly differ'
    )


def judge_scores(teacher_entropy: float, prototypes: int, loss: float) -> ScoreState:
    """Judge the teacher's prototype scores.

    A sharp teacher has an entropy near 0 and is healthy as long as the student has something to
    learn from it, so that a single prototype is only diagnosed with a vanishing loss.

    Args:
        teacher_entropy: mean over images of the entropy of the teacher's scores, in nats.
        prototypes: K.
        loss: mean cross entropy per pair of views, unweighted.
    """
    full = math.log(prototypes)
    if teacher_entropy > UNIFORM_SHARE * full:
        return 'uniform'
    if max(loss, teacher_entropy) < SINGLE_SHARE * full:
        return 'single'
    left_single = max(loss, teacher_entropy) > LEFT_SINGLE_SHARE * full
    if teacher_entropy < LEFT_UNIFORM_SHARE * full and left_single:
        return 'healthy'
    return 'between'


def describe_scores(
    state: ScoreState, teacher_entropy: float, prototypes: int, loss: float, objective: str
) -> str:
    """Say in words what ``state`` means for the prototype scores of an objective."""
    numbers = (
        f'teacher entropy {teacher_entropy:.3f} and loss_{objective} {loss:.3f} against ln K = '
        f'{math.log(prototypes):.3f} for {prototypes} prototypes'
    )
    if state == 'uniform':
        return (
            f'prototype scores have collapsed, the teacher gives every image the uniform '
            f'distribution: {numbers}; likely causes: a teacher temperature too high, a '
            'learning rate too low or too high, or a momentum so near 1 that it never moves'
        )
    if state == 'single':
        return (
            f'prototype scores have collapsed, the teacher gives every image the same '
            f'prototype: {numbers}; likely causes: a teacher center that does not move, a '
            'teacher temperature too low, or a learning rate too high'
        )
    return f'prototype scores have recovered: {numbers}'
