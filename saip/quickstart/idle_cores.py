"""How many threads pay beside other processes.

Threads meet after every operator. Where one of two has to share its core, both wait for it each
time: a step with convolutions takes 3.4 times as long on two cores of which one is busy, and 1.5
times with one thread.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

STAT = Path('/proc/stat')
SECONDS = 1.0


def count_idle_cores(seconds: float = SECONDS, stat: Path = STAT) -> float | None:
    """Idle time of the cores that this process may run on, over ``seconds``, in cores.

    Args:
        seconds: to look for, in which the caller itself should do nothing.
        stat: the kernel's times per core.

    Returns:
        From 0 to the number of these cores; None on a system that does not tell, or whose kernel
        names other cores or stands still, as in some containers.
    """
    if not stat.is_file():
        return None
    allowed = os.sched_getaffinity(0)
    before = _read_times(stat)
    time.sleep(seconds)
    after = _read_times(stat)
    if not allowed <= before.keys() & after.keys():
        return None
    spent = [
        [b - a for a, b in zip(before[core], after[core], strict=True)] for core in allowed
    ]
    if any(total <= 0 for _, total in spent):
        return None
    return sum(idle / total for idle, total in spent)


def fit_threads(most: int, idle: float | None) -> int:
    """As many threads as cores are idle, from 1 to ``most``; ``most`` where that is not known."""
    return most if idle is None else max(1, min(most, math.floor(idle + 0.5)))


def _read_times(stat: Path) -> dict[int, tuple[int, int]]:
    """Idle (waiting for disks included) and whole time of each core, in ticks."""
    found = {}
    for line in stat.read_text().splitlines():
        name, *values = line.split()
        if name[:3] == 'cpu' and name[3:].isdecimal():
            # The last two, time of guests, are counted in the first two already.
            ticks = [int(value) for value in values[:8]]
            found[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))
    return found
