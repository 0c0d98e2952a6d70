"""Threads, memory and first warnings of a process, imported by every tool before torch.

Importing this module sets environment variables that OpenMP reads when torch loads it:

- Threads that wait spin for about a millisecond, then sleep. By default they spin for much longer,
  which takes the cores from other processes: beside one busy process a training step on two cores
  takes three times as long as alone; with a short spin it takes twice as long. Alone, the two
  differ by less than 5 %.
- A container whose CPU quota is smaller than its number of cores gets as many threads as the quota
  allows; OpenMP knows the cores only.

Memory that was freed stays with the process, a gigabyte of it at the end of the heap: glibc
otherwise hands it back to the system, and every step of a training on a CPU begins with asking for
its pages anew.

mmcv without compiled operators warns when it is imported; pretraining needs none, and whatever
needs one says so itself.

Values that the user has set win. This module imports neither torch nor another package of saip.
"""

from __future__ import annotations

import ctypes
import math
import os
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path

WAITING = {
    'GOMP_SPINCOUNT': '1000',  # GNU, as in torch's wheels: turns of a loop
    'KMP_BLOCKTIME': '1',  # LLVM and Intel: milliseconds
}
POLICY = 'OMP_WAIT_POLICY'
THREADS = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')
CGROUP = Path('/sys/fs/cgroup')

KEPT = 1 << 30
"""Bytes that a process keeps of what it freed at the end of its heap."""

LARGE = (1 << 26, 1 << 25)
"""Bytes from which on a buffer goes back to the system at once; older versions take the second."""

LIMITS = (
    'MALLOC_TRIM_THRESHOLD_',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_MMAP_MAX_',
    'MALLOC_TOP_PAD_',
)
"""Variables by which users of glibc set such limits themselves."""

# Numbers of glibc's parameters for mallopt (malloc.h).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def prepare(environment: MutableMapping[str, str], cgroup: Path = CGROUP) -> None:
    """Set what the user has not set.

    Args:
        environment: changed in place. ``OMP_WAIT_POLICY`` of the user covers every runtime, so
            nothing about waiting is set beside it.
        cgroup: root of the control groups.
    """
    if POLICY not in environment:
        for name, value in WAITING.items():
            environment.setdefault(name, value)
    quota = cpu_quota(cgroup)
    if quota is not None and quota < allowed_cores() and not environment.keys() & set(THREADS):
        environment['OMP_NUM_THREADS'] = str(quota)


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may keep busy: its affinity, or the quota of its container."""
    quota = cpu_quota(cgroup)
    return allowed_cores() if quota is None else min(quota, allowed_cores())


def allowed_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(cgroup: Path = CGROUP) -> int | None:
    """CPU quota of the container in whole cores, rounded up; None without one."""
    try:
        if (cgroup / 'cpu.max').is_file():  # version 2
            quota, period = (cgroup / 'cpu.max').read_text().split()
        else:
            quota = (cgroup / 'cpu/cpu.cfs_quota_us').read_text().strip()
            period = (cgroup / 'cpu/cpu.cfs_period_us').read_text().strip()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or 'max'
        return None
    return math.ceil(cores) if cores > 0 else None


def keep_freed_memory(environment: Mapping[str, str]) -> None:
    """Let glibc keep pages that a step frees for the next one; does nothing elsewhere.

    Args:
        environment: where the user may have set parameters of glibc's allocator, which are then
            left as they are.
    """
    tunables = environment.get('GLIBC_TUNABLES', '')
    if 'threshold' in tunables or any(name in environment for name in LIMITS):
        return
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None) if os.name == 'posix' else None
    if mallopt is not None and any(mallopt(M_MMAP_THRESHOLD, size) for size in LARGE):
        mallopt(M_TRIM_THRESHOLD, KEPT)


USERS_THREADS = bool(os.environ.keys() & set(THREADS))
"""Whether the user has chosen a number of threads."""

prepare(os.environ)
keep_freed_memory(os.environ)
# Behind the user's filters.
warnings.filterwarnings(
    'ignore', 'Fail to import ``MultiScaleDeformableAttention``', append=True
)
