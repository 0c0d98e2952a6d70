"""The part of a pretraining algorithm that changes with time."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saip.models.data_preprocessor import ViewsPreprocessor
from saip.models.experts import BaseExpert
from saip.structures import Progress


class TrainingState:
    """Passes the progress of a run on to the views, the expert and the objectives.

    ``saip.ProgressHook`` calls :meth:`begin_step` before every micro-batch,
    ``saip.AutocastOptimWrapper`` the other three. The expert comes first, then the objectives in
    their order.
    """

    data_preprocessor: ViewsPreprocessor
    expert: BaseExpert | None
    objectives: Any
    _progress: Progress | None = None

    @property
    def progress(self) -> Progress:
        """Where in the run the present micro-batch lies.

        Raises:
            RuntimeError: no step was begun.
        """
        if self._progress is None:
            raise RuntimeError(
                'the model was not told where in the run it is: default_hooks lacks '
                "progress=dict(type='saip.ProgressHook')"
            )
        return self._progress

    def _moving(self) -> list[Any]:
        expert = [] if self.expert is None else [self.expert]
        return [*expert, *self.objectives.values()]

    def begin_step(self, progress: Progress) -> None:
        """Begin a micro-batch: its views can be drawn once from now on."""
        self._progress = progress
        self.data_preprocessor.begin_step(progress)
        for part in self._moving():
            part.begin_step(progress)

    def before_optimizer_step(self) -> None:
        """Let the parts change the gradients, which are reduced and clipped already."""
        for part in self._moving():
            part.before_optimizer_step(self.progress)

    def after_optimizer_step(self, skipped: Tensor) -> None:
        """Move the expert and the objectives' running state.

        Args:
            skipped: () bool, on the device of the gradients: the optimizer's step was left out.
        """
        for part in self._moving():
            part.after_optimizer_step(self.progress, skipped)

    def after_micro_batch(self) -> None:
        """Move what the first release moves after every micro-batch."""
        for part in self._moving():
            part.after_micro_batch(self.progress)

    def scheduled(self) -> dict[str, float]:
        """Values for the log that schedules move, by name."""
        return {} if self.expert is None else self.expert.scheduled(self.progress)
