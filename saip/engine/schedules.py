"""Schedules as pure functions of the step."""

import math


def cosine(step: int, total: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``total`` and after.

    Raises:
        ValueError: ``total`` is not positive.
    """
    if total <= 0:
        raise ValueError(f'a schedule needs at least one step, got total={total}')
    progress = min(step, total) / total
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
