"""What every objective provides."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.structures import Encoded, Need, Views

MULTIRES = 'multires'


class BaseObjective(BaseModule):
    """One term of a pretraining loss; owns its decoder (neck) and loss (head).

    View names are those of :class:`saip.structures.Views`; ``multires`` stands for all of
    ``multires_0`` ... ``multires_{N-1}``.

    Args:
        loss_weight: factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def student_needs(self) -> dict[str, Need]:
        """What is read of the student, by view name."""

    @abstractmethod
    def expert_needs(self) -> dict[str, Need]:
        """What is read of the expert, by view name."""

    def other_views(self) -> frozenset[str]:
        """Views that are read as pixels or masks without being encoded."""
        return frozenset()

    def momentum_modules(self) -> dict[str, nn.Module]:
        """Modules of which the expert keeps a moving average, by the name it gives them."""
        return {}

    @abstractmethod
    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Return ``loss`` (weighted) and diagnostics under names without that word."""

    def after_optimizer_step(self) -> None:
        """Move state that changes with time; called once per optimizer step."""


def expand_views(names: tuple[str, ...], num_multires: int) -> list[str]:
    """Write ``multires`` out as ``multires_0`` ... ``multires_{N-1}``."""
    out: list[str] = []
    for name in names:
        if name == MULTIRES:
            out += [f'{MULTIRES}_{i}' for i in range(num_multires)]
        else:
            out.append(name)
    return out
