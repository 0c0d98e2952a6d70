"""Lengths of a fine-tuning whose schedule is shortened."""

from typing import Any


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
