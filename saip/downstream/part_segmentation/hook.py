"""When a cycle of self-correction ends."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS


@HOOKS.register_module()
class SelfCorrectionHook(Hook):
    """Ends a cycle of :class:`SelfCorrectingSegmentor` after given epochs.

    Args:
        epochs: numbers of the epochs, counted from 1, after which a cycle ends.

    Raises:
        ValueError: the run has fewer epochs, or the numbers do not grow.
    """

    # Before the checkpoint of the epoch is written.
    priority = 'NORMAL'

    def __init__(self, epochs: Sequence[int]) -> None:
        self.epochs = tuple(epochs)
        if not self.epochs or list(self.epochs) != sorted({*self.epochs}) or self.epochs[0] < 1:
            raise InputError(
                f'SelfCorrectionHook epochs={self.epochs}: give growing numbers from 1 on'
            )

    def before_train(self, runner: Runner) -> None:
        """Compare the epochs with the length of the run."""
        if self.epochs[-1] > runner.max_epochs:
            raise InputError(
                f'SelfCorrectionHook epochs={self.epochs}: the run ends after '
                f'train_cfg.max_epochs={runner.max_epochs}, so the last cycle would never end'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """End a cycle if it is time; goes through the training data once."""
        if runner.epoch + 1 not in self.epochs:
            return
        model = unwrap(runner.model)
        model.end_cycle(runner.train_dataloader)
        runner.logger.info(f'self-correction: cycle {model.cycles} ends with this epoch')
