"""Predictions averaged over flips and scales, and their score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.evaluation import IoUMetric
from torch import Tensor

from saip.errors import InputError
from saip.registry import METRICS

CELL = 16
"""Scaled images have whole cells of this many pixels, the patches of every encoder here."""


def average_logits(
    predict: Callable[[Tensor], Tensor],
    images: Tensor,
    scales: Sequence[float],
    pairs: Sequence[tuple[int, int]] | None,
) -> Tensor:
    """Mean of the logits over scaled images and, given pairs, over their mirror images.

    Images and logits are resized bilinearly, corners on corners. A mirrored prediction is mirrored
    back and its classes of left and right are exchanged.

    Args:
        predict: (B, 3, h, w) images -> (B, C, h', w') logits.
        images: (B, 3, H, W), normalized.
        scales: factors of the sides; sizes are rounded to whole cells of 16 pixels.
        pairs: classes of left and right; None takes no mirror images.

    Returns:
        (B, C, H, W).
    """
    size = (images.shape[-2], images.shape[-1])
    total, count = images.new_zeros(()), 0
    for scale in scales:
        scaled = _resize(images, (_cells(size[0] * scale), _cells(size[1] * scale)))
        total = total + _resize(predict(scaled), size)
        count += 1
        if pairs is not None:
            mirrored = _resize(predict(scaled.flip(-1)), size).flip(-1)
            total = total + mirrored[:, exchanged(mirrored.shape[1], pairs)]
            count += 1
    return total / count


def exchanged(classes: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of the classes with those of each pair exchanged.

    Raises:
        InputError: a pair names a class that does not exist.
    """
    order = list(range(classes))
    for left, right in pairs:
        if not (0 <= left < classes and 0 <= right < classes):
            raise InputError(
                f'test_cfg.flip_pairs: ({left}, {right}), but there are the classes 0 to '
                f'{classes - 1}'
            )
        order[left], order[right] = order[right], order[left]
    return order


def _cells(side: float) -> int:
    return max(1, round(side / CELL)) * CELL


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)


@METRICS.register_module()
class PartIoUMetric(IoUMetric):
    """mmsegmentation's IoU of one of several predictions of an image.

    Args:
        prediction: which one: ``pred_sem_seg``, or ``pred_multi_scale``, which
            :class:`SelfCorrectingSegmentor` gives in a test.
        options: of the parent.
    """

    def __init__(self, prediction: str = 'pred_sem_seg', **options: Any) -> None:
        super().__init__(**options)
        self.prediction = prediction

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Raises:
            InputError: the model gives no such prediction.
        """
        missing = [s for s in data_samples if self.prediction not in s]
        if missing:
            raise InputError(
                f'test_evaluator: there is no {self.prediction}; model.test_cfg.scales makes it'
            )
        chosen = [{**s, 'pred_sem_seg': s[self.prediction]} for s in data_samples]
        super().process(data_batch, chosen)


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Return scales as numbers above 0.

    Raises:
        InputError: they are none.
    """
    found = tuple(scales) if isinstance(scales, list | tuple) else (scales,)
    if not found or not all(isinstance(x, int | float) and x > 0 for x in found):
        raise InputError(
            f'test_cfg.scales={scales!r}: numbers above 0, such as (0.75, 1, 1.25)'
        )
    return tuple(float(x) for x in found)
