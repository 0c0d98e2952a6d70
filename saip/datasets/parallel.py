"""Work on many files with several processes, showing how far it is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2

from saip.datasets.progress import track
from saip.errors import InputError, StoppedError

Item = TypeVar('Item')
Result = TypeVar('Result')

_task: Callable[[Any], Any] | None = None


class LostWorkerError(StoppedError, ChildProcessError):
    """The system ended a process of the pool."""


def use_one_thread(worker: int = 0) -> None:
    """Keep OpenCV of this process to one thread; the other cores have processes of their own.

    Args:
        worker: its number, which a ``worker_init_fn`` of a DataLoader is given.
    """
    cv2.setNumThreads(0)


def _start(function: Callable[[Any], Any]) -> None:
    global _task
    _task = function
    use_one_thread()
    # Ctrl-C reaches every process of a terminal. One that it ends while it holds the queue's lock
    # leaves the others waiting for ever; the first process tells them all to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _call_task(item: Any) -> Any:
    assert _task is not None
    return _task(item)


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str
) -> list[Result]:
    """Apply a function to all items.

    Args:
        function: sent once to every process; it must be picklable.
        items: what it is applied to.
        workers: number of processes; 1 works in this one.
        label: of the progress lines on stderr.

    Returns:
        The results in the order of the items.

    Raises:
        ValueError: ``workers`` is below 1.
        LostWorkerError: the system ended a process.
    """
    if workers < 1:
        raise InputError(f'workers must be at least 1, not {workers}')
    if workers == 1 or len(items) < 2:
        return list(track(map(function, items), len(items), label))
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(function,))
    try:
        chunk = max(1, min(64, len(items) // (4 * workers)))
        results = pool.map(_call_task, items, chunksize=chunk)
        return list(track(results, len(items), label))
    except BrokenProcessPool as error:
        raise LostWorkerError(
            f'{label}: a process was ended from outside, perhaps for want of memory; '
            f'take fewer workers than {workers}'
        ) from error
    finally:
        # After an interruption nothing that is still waiting shall begin.
        pool.shutdown(cancel_futures=True)
