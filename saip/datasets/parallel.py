"""Work on many files with several processes, showing how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')

REPORT_SECONDS = 5.0
_task: Callable[[Any], Any] | None = None


def _set_task(function: Callable[[Any], Any]) -> None:
    global _task
    _task = function


def _call_task(item: Any) -> Any:
    assert _task is not None
    return _task(item)


def with_progress(results: Iterable[Result], total: int, label: str) -> Iterator[Result]:
    """Pass results on, and every few seconds print their number, rate and the time left."""
    start = reported = time.monotonic()
    for done, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - reported > REPORT_SECONDS or (done == total and reported > start):
            rate = done / (now - start)
            left = timedelta(seconds=round((total - done) / rate))
            print(
                f'{label}: {done:,}/{total:,} ({100 * done // total} %), {rate:,.0f}/s, '
                f'{left} left',
                file=sys.stderr,
                flush=True,
            )
            reported = now


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, label: str
) -> list[Result]:
    """Apply a function to all items.

    Args:
        function: sent once to every process; it must be picklable.
        items: what it is applied to.
        workers: number of processes; up to 1 works in this one.
        label: of the progress lines on stderr.

    Returns:
        The results in the order of the items.
    """
    if workers <= 1 or len(items) < 2:
        return list(with_progress(map(function, items), len(items), label))
    with ProcessPoolExecutor(workers, initializer=_set_task, initargs=(function,)) as pool:
        chunk = max(1, min(64, len(items) // (4 * workers)))
        results = pool.map(_call_task, items, chunksize=chunk)
        return list(with_progress(results, len(items), label))
