"""Schedules: values that change over a run, as functions of its progress."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from saip.errors import InputError
from saip.registry import MODELS
from saip.structures import Progress


def cosine(share: float, start: float, end: float) -> float:
    """Half a cosine from ``start`` at 0 to ``end`` at 1 and after."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


class Schedule(ABC):
    """A value that follows the progress of a run.

    Attributes:
        start: the value at the beginning of the run.
    """

    start: float

    @abstractmethod
    def __call__(self, progress: Progress) -> float:
        """The value at a micro-batch."""


@MODELS.register_module()
@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The same value throughout.

    Args:
        start: the value.
    """

    start: float

    def __call__(self, progress: Progress) -> float:
        """The value."""
        return self.start


@MODELS.register_module()
@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """A straight line over the first epochs, then the last value (DINO's teacher temperature).

    Args:
        start: value at the beginning.
        end: value after ``epochs`` and from then on.
        epochs: length of the line in epochs; moves with every optimizer step.
    """

    start: float
    end: float
    epochs: float

    def __post_init__(self) -> None:
        """Refuse a line without length."""
        if self.epochs <= 0:
            raise InputError(f'LinearSchedule epochs={self.epochs}: more than 0')

    def __call__(self, progress: Progress) -> float:
        """The value at a micro-batch."""
        epochs = progress.total_steps / progress.steps_per_epoch
        passed = min(progress.share * epochs / self.epochs, 1.0)
        return self.start + (self.end - self.start) * passed


@MODELS.register_module()
@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Half a cosine over the whole run, one value per optimizer step.

    Args:
        start: value at the beginning.
        end: value at the end of the run.
    """

    start: float
    end: float

    def __call__(self, progress: Progress) -> float:
        """The value at a micro-batch."""
        return cosine(progress.share, self.start, self.end)


@MODELS.register_module()
@dataclass(frozen=True)
class OfficialCosineSchedule(Schedule):
    """The fault of the method's first release: the cosine starts again in every epoch.

    It spans the micro-batches of the run and is read at the position inside the epoch, so the
    value hardly leaves ``start``.

    Args:
        start: value at the beginning of every epoch.
        end: value that a run of a single epoch would reach.
    """

    start: float
    end: float

    def __call__(self, progress: Progress) -> float:
        """The value at a micro-batch."""
        position = progress.step % progress.steps_per_epoch
        return cosine(position / progress.total_steps, self.start, self.end)


def build_schedule(value: float | dict[str, Any] | Schedule) -> Schedule:
    """Build a schedule from its configuration; a number is a constant.

    Raises:
        InputError: neither a number nor a configuration of a schedule.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | dict | Schedule):
        raise InputError(
            f'{value!r} is no schedule: give a number or dict(type=...) with one of '
            'saip.ConstantSchedule, saip.LinearSchedule, saip.CosineSchedule'
        )
    if isinstance(value, int | float):
        return ConstantSchedule(float(value))
    if isinstance(value, dict) and 'type' not in value:
        raise InputError(
            f'{value!r} is no schedule: type is missing, such as saip.CosineSchedule'
        )
    built = MODELS.build(dict(value)) if isinstance(value, dict) else value
    if not isinstance(built, Schedule):
        raise InputError(f'{type(built).__name__} is no schedule')
    return built
