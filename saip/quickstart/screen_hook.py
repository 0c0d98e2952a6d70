"""Shows a training on a screen: its progress, and this project's warnings."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.errors import PACKAGE
from saip.quickstart.screen import Screen

LOGGING = ('logging', 'mmengine/logging')
"""Folders of modules that only pass a message on."""
AVERAGED = 20
"""Iterations whose time is averaged."""


class ScreenHook(Hook):
    """Tell a screen of every iteration, and of warnings that this project gives.

    Warnings of libraries, which a user can do nothing about, stay in the log. Nothing is read from
    a device: the loss is the last one that was logged.

    Args:
        screen: what shows them.
    """

    priority = 'LOWEST'

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._handler = WarningHandler(screen)

    def before_run(self, runner: Runner) -> None:
        """Begin to pass warnings on."""
        runner.logger.addHandler(self._handler)

    def after_run(self, runner: Runner) -> None:
        """Pass no warnings on any more."""
        runner.logger.removeHandler(self._handler)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Show the loss and the images per second."""
        scalars = runner.message_hub.log_scalars
        details = []
        if 'train/loss' in scalars:
            details.append(f'loss {float(scalars["train/loss"].mean(AVERAGED)):.2f}')
        if 'train/time' in scalars:
            seconds = float(scalars['train/time'].mean(AVERAGED))
            size = runner.train_dataloader.batch_size or 1
            details.append(f'{size / max(seconds, 1e-9):.0f} images/s')
        self._screen.progress(runner.iter + 1, runner.max_iters, ', '.join(details))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Say that the run is validating."""
        self._screen.progress(runner.iter, runner.max_iters, 'validating')


class WarningHandler(logging.Handler):
    """Show the warnings that modules of this project log."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        if is_ours(sys._getframe()):
            self._screen.say(f'{record.levelname.lower()}: {record.getMessage()}', 'yellow')


def is_ours(frame: FrameType | None) -> bool:
    """Whether the first frame that does more than to pass a message on is of this project."""
    while frame is not None:
        folder = Path(frame.f_code.co_filename).parent
        own = Path(frame.f_code.co_filename) == Path(__file__)
        if not own and not folder.as_posix().endswith(LOGGING):
            return folder.is_relative_to(PACKAGE)
        frame = frame.f_back
    return False
