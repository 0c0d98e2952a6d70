"""What every objective provides."""

from __future__ import annotations

from abc import abstractmethod

from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.structures import Encoded, Need, Progress, Views

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

    def twins(self) -> dict[str, nn.Module]:
        """Modules of which the expert keeps a moving average, by a name of the objective's own.

        :meth:`loss` finds the averages under the same names in ``expert.modules``.
        """
        return {}

    def collapse_scale(self) -> int | None:
        """Number K of prototypes that images are scored by; None without prototype scores.

        An objective that returns one reports ``teacher_entropy`` (in nats) beside its loss.
        """
        return None

    @abstractmethod
    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Return ``loss`` (weighted) and diagnostics under names without that word.

        The algorithm puts the objective's name before those of the diagnostics.
        """

    def begin_step(self, progress: Progress) -> None:
        """Set what a schedule moves; called before every micro-batch of a training."""

    def before_optimizer_step(self, progress: Progress) -> None:
        """Change gradients, which are reduced and clipped already; once per optimizer step."""

    def after_optimizer_step(self, progress: Progress, skipped: Tensor) -> None:
        """Move state that changes with time; called once per optimizer step.

        Args:
            progress: where in the run the last micro-batch of the step lies.
            skipped: () bool, on the device of the gradients: the step was left out because its
                loss or gradients were not finite; then state stays as it is.
        """

    def after_micro_batch(self, progress: Progress) -> None:
        """Called once per micro-batch, after the optimizer step if there is one."""


def expand_views(names: tuple[str, ...], num_multires: int) -> list[str]:
    """Write ``multires`` out as ``multires_0`` ... ``multires_{N-1}``."""
    out: list[str] = []
    for name in names:
        if name == MULTIRES:
            out += [f'{MULTIRES}_{i}' for i in range(num_multires)]
        else:
            out.append(name)
    return out
