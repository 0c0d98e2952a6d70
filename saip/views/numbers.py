"""Numbers that are drawn with the views: conditions of encoders, choices of objectives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saip.registry import VIEWS
from saip.structures import Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_count, check_share
from saip.views.ops import RenderOps
from saip.views.sizes import Size


class Numbers(ViewType):
    """Makes no view but the target ``NAME``, one row of numbers per image.

    The numbers are keyed by image and epoch, so that all views of an image that are told them
    are told the same.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """None: it makes no view."""
        return ()

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """The empty one."""
        return [()]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The empty one."""
        return ()

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw the numbers of each image."""
        return Draw(values={'numbers': self.draw_rows(clock, batch)})

    @abstractmethod
    def draw_rows(self, clock: Clock, batch: HostBatch) -> np.ndarray:
        """(B,) or (B, d) numbers."""

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Bring the numbers to the device, as float32."""
        numbers = np.asarray(draw.values['numbers'], dtype=np.float32)
        return Views(targets={self.name: ops.upload([numbers])[0]})


@VIEWS.register_module()
class Bernoulli(Numbers):
    """1 or 0 for each image, (B,): SOLIDER's λ in training.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        probability: of a 1.

    Raises:
        InputError: the probability is not from 0 to 1.
    """

    def __init__(self, name: str, frame: Frame, probability: float = 0.5) -> None:
        super().__init__(name, frame)
        self.probability = check_share(f'{name}.probability', probability)

    def draw_rows(self, clock: Clock, batch: HostBatch) -> np.ndarray:
        """(B,) of 0 and 1."""
        numbers = clock.of_images(stream(self.name, 'numbers'), batch.keys, 1)[:, 0]
        return (numbers < self.probability).astype(np.float32)


@VIEWS.register_module()
class Uniform(Numbers):
    """Numbers in [0, 1) for each image, (B, n), from which an objective makes its choices.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        number: n, of numbers per image.

    Raises:
        InputError: ``number`` is no whole number from 1 on.
    """

    def __init__(self, name: str, frame: Frame, number: int = 1) -> None:
        super().__init__(name, frame)
        self.number = check_count(f'{name}.number', number)

    def draw_rows(self, clock: Clock, batch: HostBatch) -> np.ndarray:
        """(B, n) in [0, 1)."""
        return clock.of_images(stream(self.name, 'numbers'), batch.keys, self.number)


Condition = str | float | None
"""Option of a view type: an entry of the recipe that draws numbers, one number for all, or none."""


def check_condition(where: str, value: Any) -> Condition:
    """Return a condition: a name, a number from 0 to 1, or None.

    Raises:
        InputError: it is none of these.
    """
    return value if value is None or isinstance(value, str) else check_share(where, value)


def bases_of(condition: Condition) -> tuple[str, ...]:
    """Entries that a view with this condition builds on."""
    return (condition,) if isinstance(condition, str) else ()


def make_condition(
    condition: Condition, rows: int, images: Any, made: Views, ops: RenderOps
) -> Tensor | None:
    """The condition of a view's images.

    Args:
        condition: the option.
        rows: images of the view per image of the batch.
        images: of the view, view-major.
        made: views and targets so far.
        ops: operations on images.

    Returns:
        (rows * B,) or (rows * B, d), view-major; None without a condition.
    """
    if condition is None:
        return None
    if isinstance(condition, str):
        return torch.cat([made.targets[condition]] * rows)
    return torch.full((len(images),), float(condition), device=ops.mean.device)
