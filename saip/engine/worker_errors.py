"""Errors of data workers reach the run.

A batch that a worker cannot send, for want of shared memory most often, is dropped by Python's
queue with a traceback on the terminal, and the run waits for it for ever. That is so wherever
tensors are first shared when they are sent, as with mmengine's ``pseudo_collate``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, get_worker_info


class WorkerErrorsHook(Hook):
    """Lets the workers of a run's loaders report what they cannot send."""

    def before_train(self, runner: Runner) -> None:
        """Prepare the training's loader, before its workers start."""
        report_unsent(runner.train_loop.dataloader)

    def before_val(self, runner: Runner) -> None:
        """Prepare the validation's."""
        report_unsent(runner.val_loop.dataloader)

    def before_test(self, runner: Runner) -> None:
        """Prepare the test's."""
        report_unsent(runner.test_loop.dataloader)


def report_unsent(loader: DataLoader) -> None:
    """Let the workers of a loader report what they cannot send; once, however often called."""
    begin = loader.worker_init_fn
    if loader.num_workers and getattr(begin, 'func', None) is not _begin:
        loader.worker_init_fn = partial(_begin, begin)


def _begin(then: Callable[[int], None] | None, worker: int) -> None:
    """Begin a worker: in its process alone, a queue sends the error in place of the batch."""
    Queue._on_queue_feeder_error = _send_error  # type: ignore[attr-defined]
    if then is not None:
        then(worker)


def _send_error(queue: Any, error: Exception, sent: Any) -> None:
    """Send (number of the batch, error), which the loader raises as it does any of a worker."""
    if not isinstance(sent, tuple):  # bytes on their way: the run has gone
        return
    info = get_worker_info()
    where = f'in DataLoader worker process {info.id if info is not None else "?"}'
    found = (type(error), error, error.__traceback__)
    queue.put((sent[0], ExceptionWrapper(found, where)))
