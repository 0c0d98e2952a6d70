"""Features as the metrics compare them: float32 rows of length one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from saip.errors import InputError

BRANCHES = ('student', 'expert')
"""The two networks of a pretraining run, in the order in which they are reported."""


def require_finite(features: Tensor, what: str = 'features') -> None:
    """Refuse features of any shape, named ``what``, of which one is not finite.

    Raises:
        InputError: one is NaN or infinity.
    """
    if not features.isfinite().all():
        raise InputError(
            f'{what} are not finite: the weights have diverged; go back to an earlier checkpoint '
            'with a lower learning rate'
        )


def normalize(features: Tensor, what: str = 'features') -> Tensor:
    """Return the rows of (N, D) ``features`` in float32 with unit l2 norm.

    Args:
        features: (N, D) of any floating type.
        what: what the rows are, for the message.

    Raises:
        ValueError: ``features`` is not a matrix or holds NaN or infinity.
    """
    if features.ndim != 2:
        raise ValueError(f'{what} must be a matrix (N, D), got shape {tuple(features.shape)}')
    features = features.float()
    bad = int((~features.isfinite()).any(dim=1).sum())
    if bad:
        raise InputError(
            f'{what} of {bad} of {len(features)} images are not finite: the weights have '
            'diverged; go back to an earlier checkpoint with a lower learning rate'
        )
    return torch.nn.functional.normalize(features, dim=1)


def rows_of(predictions: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
    """Take the features of one batch of predictions to the host, one dict per image.

    One copy per branch and batch: a copy per image would wait for the device each time.

    Args:
        predictions: what ``model(..., mode='predict')`` returns; ``expert`` may be missing or
            None where a method has none.
    """
    rows: list[dict[str, np.ndarray]] = [{} for _ in predictions]
    for branch in BRANCHES:
        found = [p[branch] for p in predictions if p.get(branch) is not None]
        if not found:
            continue
        if len(found) != len(predictions):
            raise ValueError(
                f'{branch!r} features are missing in {len(predictions) - len(found)} of '
                f'{len(predictions)} predictions of a batch'
            )
        features = torch.stack([torch.as_tensor(f) for f in found]).detach().float().cpu()
        for row, feature in zip(rows, features.numpy(), strict=True):
            row[branch] = feature
    return rows


def stack_branch(results: Sequence[Mapping[str, Any]], branch: str) -> Tensor:
    """Stack one branch of collected results on the device that metrics compute on."""
    stacked = np.stack([result[branch] for result in results])
    return torch.from_numpy(stacked).to(get_device())


def branches_in(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the branches that ``results`` hold, student first."""
    return [branch for branch in BRANCHES if branch in results[0]]
