"""Lengths of a fine-tuning whose schedule is shortened."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from saip.errors import InputError


def scaled(length: int, scale: float, least: int = 1) -> int:
    """Round a share of a number of epochs or iterations, half up.

    Args:
        length: of the full schedule.
        scale: the share, above 0 and at most 1.
        least: what is returned for shorter ones.
    """
    return max(least, int(length * scale + 0.5))


def linear_warmup(
    length: int, scale: float, start_factor: float, by_epoch: bool = True
) -> dict[str, Any]:
    """A warm-up whose length is scaled; one of a single epoch or iteration changes nothing.

    mmengine's ``LinearLR`` of length 1 sets its first factor and never leads to the full rate. It
    keeps its place in the list all the same: checkpoints hold the states of schedules by place.

    Args:
        length: epochs or iterations of the full schedule.
        scale: the share, above 0 and at most 1.
        start_factor: share of the learning rate at the beginning.
        by_epoch: whether ``length`` counts epochs.
    """
    end = scaled(length, scale)
    factor = start_factor if end > 1 else 1.0
    return dict(type='LinearLR', start_factor=factor, by_epoch=by_epoch, begin=0, end=end)


class CorrectionSchedule(NamedTuple):
    """Lengths and learning rates of a training with self-correction.

    Attributes:
        ends: epochs after which a cycle ends; the last is the length of the training.
        param_scheduler: the learning rate's, by epochs.
    """

    ends: list[int]
    param_scheduler: list[dict[str, Any]]


def correction_schedule(
    scale: float, warmup: int, first: int, length: int, lowest: float, cycle: int = 10
) -> CorrectionSchedule:
    """Warm-up, a cosine to the end of the first cycle, then cycles from half of the rate.

    Args:
        scale: share of the schedule; every length is scaled and rounded to whole epochs.
        warmup: epochs of warm-up, which begins at ``lowest``.
        first: epoch after which the first cycle ends.
        length: epochs of the training.
        lowest: share of the rate at which the cosine and every cycle end.
        cycle: epochs of each further cycle.

    Raises:
        InputError: cycles would be empty, or ``length`` is no end of one.
    """
    if (length - first) % cycle:
        raise InputError(f'{length} epochs end within a cycle of {cycle} after epoch {first}')
    stated = range(first, length + 1, cycle)
    ends = [scaled(epoch, scale, least=0) for epoch in stated]
    begin = scaled(warmup, scale)
    if sorted({begin, *ends}) != [begin, *ends]:
        raise InputError(
            f'SAIP_SCHEDULE={scale:g}: the cycles of self-correction would end after the epochs '
            f'{ends}, some of them empty; 0.1 is short enough for a trial'
        )
    return CorrectionSchedule(
        ends,
        [
            linear_warmup(warmup, scale, start_factor=lowest),
            dict(
                type='CosineAnnealingLR',
                eta_min_ratio=lowest,
                T_max=ends[0] - begin,
                begin=begin,
                end=ends[0],
            ),
            dict(
                type='CosineRestartLR',
                periods=[after - before for before, after in pairwise(ends)],
                restart_weights=[0.5] * (len(ends) - 1),
                eta_min_ratio=lowest,
                begin=ends[0],
                end=ends[-1],
            ),
        ],
    )
