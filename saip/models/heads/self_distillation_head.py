"""Loss of cross-scale matching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine import dist
from mmengine.model import BaseModule
from torch import Tensor

from saip.compiling import Compilable
from saip.models.losses.self_distillation import self_distillation
from saip.models.ops import skipping
from saip.models.schedules import Schedule, build_schedule
from saip.registry import MODELS
from saip.structures import Progress


@MODELS.register_module()
class SelfDistillationHead(Compilable, BaseModule):
    """Centered and sharpened targets, cross-entropy, running center (Eq. 1; DINO's loss).

    The center follows the mean target score. It moves in :meth:`update_center`, which the
    objective calls after the optimizer step, over all micro-batches since the last one.

    Args:
        out_channels: number K of prototypes.
        student_temp: temperature of the predictions.
        teacher_temp: temperature of the targets, a number or a schedule.
        center_momentum: weight of the old center.
    """

    center: Tensor
    teacher_temp: Tensor

    def __init__(
        self,
        out_channels: int,
        student_temp: float = 0.1,
        teacher_temp: float | dict[str, Any] | Schedule = 0.04,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__()
        self.student_temp = student_temp
        self.center_momentum = center_momentum
        self._schedule = build_schedule(teacher_temp)
        self._teacher_temp = self._schedule.start
        # Compiled code is compiled again for every new value of a float, not of a tensor.
        self.register_buffer('teacher_temp', torch.empty(()), persistent=False)
        self.teacher_temp.fill_(self._teacher_temp)
        self.register_buffer('center', torch.zeros(1, out_channels))
        self._pending: list[Tensor] = []

    def begin_step(self, progress: Progress) -> None:
        """Set the temperature of the targets."""
        self._teacher_temp = self._schedule(progress)
        self.teacher_temp.fill_(self._teacher_temp)

    def _apply(self, fn: Callable, recurse: bool = True) -> SelfDistillationHead:
        """Go to another device or type; a temperature rounded to float32 is not kept in float64."""
        super()._apply(fn, recurse)
        self.teacher_temp.fill_(self._teacher_temp)
        return self

    def loss(
        self, predictions: Tensor, targets: Tensor, same_view: dict[int, int], num_views: int
    ) -> dict[str, Tensor]:
        """Match predictions with targets.

        Args:
            predictions: (V * B, K) scores, view-major.
            targets: (T * B, K) scores, view-major.
            same_view: prediction index -> target index of the same view, not to be matched.
            num_views: V.

        Returns:
            ``loss`` and ``entropy``, the mean entropy of the targets in nats.
        """
        settings = self.student_temp, same_view, num_views
        value, entropy, mean = self.run(
            match, predictions, targets, self.center, self.teacher_temp, *settings
        )
        if self.training:
            self._pending.append(mean)
        return {'loss': value, 'entropy': entropy}

    @torch.no_grad()
    def update_center(self, skipped: Tensor | None = None) -> None:
        """Move the center towards the mean target score, averaged over the processes.

        Args:
            skipped: () bool, the same on all processes: forget the scores and stay. None stays
                where the mean is not finite.
        """
        if not self._pending:
            return
        mean = torch.stack(self._pending).mean(0)
        self._pending.clear()
        dist.all_reduce(mean, op='mean')
        if skipped is None:
            skipped = mean.isfinite().all().logical_not()
        if not skipping.readable(skipped):
            change = (mean - self.center).masked_fill(skipped, 0.0)
            self.center.add_(change, alpha=1 - self.center_momentum)
        elif not skipped:
            self.center.lerp_(mean, 1 - self.center_momentum)


def match(
    predictions: Tensor,
    targets: Tensor,
    center: Tensor,
    teacher_temp: Tensor,
    student_temp: float,
    same_view: dict[int, int],
    num_views: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, entropy of the targets in nats, and their mean score (1, K); see the head."""
    scores = targets.to(center.dtype)
    sharp = (scores - center) / teacher_temp
    probabilities = sharp.softmax(-1)
    value = self_distillation(
        predictions.to(center.dtype) / student_temp, probabilities, same_view, num_views
    )
    with torch.no_grad():
        similarity = (probabilities * sharp).sum(-1)
        entropy = (sharp.logsumexp(-1) - similarity).mean()
        return value, entropy, scores.mean(0, keepdim=True)
