"""What every objective provides, and what it is given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from mmengine.model import BaseModule
from torch import Tensor, nn

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder
from saip.models.experts import BaseExpert
from saip.structures import Encoded, Outputs, Progress, Views


@dataclass(frozen=True)
class Parts:
    """What an objective is built from.

    Attributes:
        encoder: the encoder to be trained.
        expert: the expert; None for methods without one.
        views: names of the views that each entry of the recipe makes.
        mean: (3, 1, 1) of the normalization, in gray levels.
        std: (3, 1, 1) of the normalization, in gray levels.
    """

    encoder: BaseEncoder
    expert: BaseExpert | None
    views: Mapping[str, tuple[str, ...]]
    mean: Tensor
    std: Tensor

    def require_expert(self, reader: str) -> BaseExpert:
        """Return the expert.

        Raises:
            InputError: there is none.
        """
        if self.expert is None:
            raise InputError(
                f'{reader} reads the features of an expert, but model.expert is None; take '
                'model.expert.type=saip.EMAExpert'
            )
        return self.expert

    def expand(self, names: tuple[str, ...]) -> list[str]:
        """Names of views, with ``multires`` written out as ``multires_0``, ``multires_1`` ..."""
        return [view for name in names for view in self.views.get(name, (name,))]


class BaseObjective(BaseModule):
    """One term of a pretraining loss; owns its decoder (neck) and loss (head).

    View names are those that the recipe's entries make, see :class:`Parts`.

    Attributes:
        reads_last_block: whether the image token or the final patch tokens of the student are
            read, so that the last block is trained. Where no objective does, dense features
            are taken from the last block.
        needs_dropped_tokens: whether it has its meaning only with an encoder that leaves hidden
            patches out (``BaseEncoder.drops_tokens``); others are refused before they are built.

    Args:
        parts: what it is built from.
        loss_weight: factor of the loss.
    """

    reads_last_block: bool = True
    needs_dropped_tokens: bool = False

    def __init__(self, parts: Parts, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    @abstractmethod
    def student_inputs(self) -> dict[str, Outputs]:
        """What is read of the student, by view name."""

    def expert_inputs(self) -> dict[str, Outputs]:
        """What is read of the expert, by view name; nothing by default."""
        return {}

    def other_views(self) -> frozenset[str]:
        """Views that are read as pixels, masks or targets without being encoded."""
        return frozenset()

    def derived_views(self) -> frozenset[str]:
        """Views that :meth:`derive` makes; the recipe need not."""
        return frozenset()

    def twins(self) -> dict[str, nn.Module]:
        """Modules of which the expert keeps a moving average, by a name of the objective's own.

        :meth:`loss` finds the averages under the same names in ``expert.modules``.
        """
        return {}

    def derive(self, expert: Encoded, views: Views) -> Views:
        """Make views and targets from the expert's features, before the student encodes.

        Args:
            expert: the views as the expert sees them, without gradient.
            views: all views so far.

        Returns:
            What is added; nothing by default.
        """
        return Views()

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
