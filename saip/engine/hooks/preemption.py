"""A run that is asked to stop saves what it has done, and ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from saip.engine.windows import is_window_open
from saip.errors import PreemptedError
from saip.registry import HOOKS

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
Handler = Callable[[int, FrameType | None], Any] | int | None


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save a checkpoint and stop when SIGTERM, SIGUSR1 or Ctrl-C asks for it.

    All processes stop after the same iteration, whichever was asked: after each they add up, on
    the host and beside the computation, how many were, and act on the sum one iteration later. The
    checkpoint waits for the end of an accumulated step. A second Ctrl-C leaves at once. Workers
    that load data, which a terminal or a scheduler asks as well, go on until the process that they
    work for ends.

    Raises:
        PreemptedError: the run was asked to stop, and its checkpoint is written.
    """

    priority = 'LOWEST'  # after the schedules have moved and regular checkpoints are written

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._asked_by: signal.Signals | None = None
        self._former: dict[signal.Signals, Handler] = {}
        self._agreed = False
        self._group: Any = None
        self._sum: tuple[torch.Tensor, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        self._owner = os.getpid()
        if torch_dist.is_initialized():
            self._group = torch_dist.new_group(backend='gloo')
        for name in SIGNALS:
            self._former[name] = signal.signal(name, self._note)
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:  # workers begin with the loader's first epoch
                former = loop.dataloader.worker_init_fn
                loop.dataloader.worker_init_fn = partial(_begin_worker, former)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop after this iteration, if all are to."""
        if self._is_time() and not is_window_open(runner):
            self._stop(runner, validating=False)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop in a validation, whose result is then missing."""
        if self._former and self._is_time() and not is_window_open(runner):
            runner.logger.warning(f'the validation after epoch {runner.epoch} is cut short')
            self._stop(runner, validating=True)

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        asked = signal.Signals(number)
        if os.getpid() != self._owner:  # a worker
            return
        if asked is signal.SIGINT and self._asked_by is signal.SIGINT:
            # At once: libraries catch KeyboardInterrupt. Half a file is swept by the next run.
            print('SIGINT again: leaving without a checkpoint', flush=True)
            os._exit(128 + number)
        self._asked_by = self._asked_by or asked
        print(f'{asked.name}: saving a checkpoint, then stopping', flush=True)

    def _is_time(self) -> bool:
        """Whether any process had been asked when the last iteration ended."""
        if self._group is None:
            return self._asked_by is not None
        if self._sum is not None:
            asked, reduction = self._sum
            reduction.wait()
            self._agreed = self._agreed or bool(asked)
        asked = torch.tensor(int(self._asked_by is not None))
        self._sum = asked, torch_dist.all_reduce(asked, group=self._group, async_op=True)
        return self._agreed

    def _stop(self, runner: Runner, validating: bool) -> None:
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        saved = [hook.save_between(runner, validating) for hook in hooks]
        if self._group is not None:
            torch_dist.barrier(group=self._group)  # a process that ends early ends the others
        self._restore()
        name = (
            self._asked_by.name if self._asked_by is not None else 'a signal to another process'
        )
        done = runner.iter if validating else runner.iter + 1
        where = (
            f'saved {saved[0]}' if saved else 'nothing saved: there is no AtomicCheckpointHook'
        )
        raise PreemptedError(
            f'stopped by {name} after {done} of {runner.max_iters} iterations: {where}; '
            'the same command with --resume goes on'
        )

    def __enter__(self) -> PreemptionHook:
        return self

    def __exit__(self, *error: object) -> None:
        """Listen no longer, however the run has ended."""
        self._restore()

    def _restore(self) -> None:
        for name, handler in self._former.items():
            signal.signal(name, handler)
        self._former.clear()


def _begin_worker(former: Callable[[int], Any] | None, worker: int) -> None:
    """Begin a worker as before; torch makes it end with a SIGTERM from anybody."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if former is not None:
        former(worker)


def _end_with_parent() -> None:
    """End a worker as soon as the process that it works for asks for it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
