"""What the optimizer wrapper and its hook ask of a model that changes with time."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from saip.structures import Progress


@runtime_checkable
class Stepped(Protocol):
    """A model with a state of its own beside its weights.

    See :class:`saip.models.selfsup.training_state.TrainingState` for what the methods mean.
    """

    def begin_step(self, progress: Progress) -> None:
        """Begin a micro-batch."""

    def before_optimizer_step(self) -> None:
        """Change gradients before the optimizer's step."""

    def after_optimizer_step(self, skipped: Tensor) -> None:
        """Move state after the optimizer's step."""

    def after_micro_batch(self) -> None:
        """Move state after a micro-batch."""

    def scheduled(self) -> dict[str, float]:
        """Values for the log."""
