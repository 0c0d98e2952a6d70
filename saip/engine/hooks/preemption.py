"""A run that is asked to stop saves what it has done, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.distributed as torch_dist
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.hooks.checkpoint import AtomicCheckpointHook
from saip.engine.processes import patience
from saip.engine.windows import is_window_open
from saip.errors import PreemptedError, StoppedError, one_line
from saip.registry import HOOKS

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
Handler = Callable[[int, FrameType | None], Any] | int | None


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Save a checkpoint and stop when SIGTERM, SIGUSR1 or Ctrl-C asks for it.

    All processes stop after the same iteration, whichever was asked: after each they add up, on
    the host and beside the computation, how many were, and act on the sum one iteration later. Of
    a validation these are the iterations that every process has; some may have more. The
    checkpoint waits for the end of an accumulated step. A second Ctrl-C leaves at once, any other
    signal is without effect once one has been noted, and all of them are once the checkpoint is
    written: the process is about to end, and a scheduler that repeats itself must not change
    how. Workers that load data, which a terminal or a scheduler asks as well, go on until the
    process that they work for ends.

    Raises:
        PreemptedError: the run was asked to stop, and its checkpoint is written.
        StoppedError: the run was asked to stop, and its checkpoint could not be written.
    """

    priority = 'LOWEST'  # after the schedules have moved and regular checkpoints are written

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._asked_by: signal.Signals | None = None
        self._interrupted = False
        self._leaving = False
        self._former: dict[signal.Signals, Handler] = {}
        self._agreed = False
        self._group: Any = None
        self._sum: tuple[torch.Tensor, Any] | None = None
        self._common_batches = sys.maxsize

    def before_train(self, runner: Runner) -> None:
        """Begin to listen."""
        self._owner = os.getpid()
        if torch_dist.is_initialized():
            self._group = torch_dist.new_group(backend='gloo', timeout=patience(runner.cfg))
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

    def before_val_epoch(self, runner: Runner) -> None:
        """Find out how many batches of the validation all processes have."""
        if self._former and self._group is not None:
            number = torch.tensor(_number_of_batches(runner.val_loop.dataloader))
            torch_dist.all_reduce(number, torch_dist.ReduceOp.MIN, group=self._group)
            self._common_batches = int(number)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Stop in a validation, whose result is then missing."""
        if not self._former or batch_idx >= self._common_batches:
            return
        if self._is_time() and not is_window_open(runner):
            runner.logger.warning(f'the validation after epoch {runner.epoch} is cut short')
            self._stop(runner, validating=True)

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        if self._sum is not None:
            self._sum[1].wait()
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, which may come between any two steps of Python: print would fail."""
        asked = signal.Signals(number)
        if self._leaving or os.getpid() != self._owner:  # of a worker
            return
        if asked is signal.SIGINT and self._interrupted:
            # At once: libraries catch KeyboardInterrupt. Half a file is swept by the next run.
            _write('SIGINT again: leaving without a checkpoint')
            os._exit(128 + number)
        self._interrupted = self._interrupted or asked is signal.SIGINT
        if self._asked_by is None:
            self._asked_by = asked
            _write(f'{asked.name}: saving a checkpoint, then stopping')

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

    def _stop(self, runner: Runner, validating: bool) -> NoReturn:
        name = (
            self._asked_by.name if self._asked_by is not None else 'a signal to another process'
        )
        done = runner.iter if validating else runner.iter + 1
        stopped = f'stopped by {name} after {done} of {runner.max_iters} iterations'
        path, reason = self._save(runner, validating)
        self._leaving = True
        if path is None:
            raise StoppedError(f'{stopped}, and nothing was saved: {reason}')
        raise PreemptedError(f'{stopped}: saved {path}; the same command with --resume goes on')

    def _save(self, runner: Runner, validating: bool) -> tuple[str | None, str]:
        """Write the checkpoint; its path, or None and the reason, in all processes alike."""
        hooks = [hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)]
        path: str | None = None
        reason = 'default_hooks.checkpoint is no saip.AtomicCheckpointHook'
        try:
            for hook in hooks:
                path = hook.save_between(runner, validating)
        except (StoppedError, OSError) as error:
            path, reason = None, one_line(error)
        shared = [(path, reason)]
        if self._group is not None:
            torch_dist.broadcast_object_list(shared, group=self._group)  # the first one writes
            torch_dist.barrier(group=self._group)  # a process that ends early ends the others
        return shared[0]

    def __enter__(self) -> PreemptionHook:
        return self

    def __exit__(self, *error: object) -> None:
        """Listen no longer, however the run has ended, unless the process is to end with it."""
        if not self._leaving:
            self._restore()

    def _restore(self) -> None:
        for name, handler in self._former.items():
            signal.signal(name, handler)
        self._former.clear()


def _write(text: str) -> None:
    """Write a line to the terminal, past the buffers of Python."""
    with contextlib.suppress(OSError):
        os.write(2, f'{text}\n'.encode())


def _number_of_batches(loader: Any) -> int:
    """Length of a loader; 0 where it has none, so that nothing is agreed upon."""
    try:
        return len(loader)
    except TypeError:  # of a stream
        return 0


def _begin_worker(former: Callable[[int], Any] | None, worker: int) -> None:
    """Begin a worker as before; torch makes it end with a SIGTERM from any process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if former is not None:
        former(worker)


def _end_with_parent() -> None:
    """End a worker as soon as the process that it works for asks for it."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
