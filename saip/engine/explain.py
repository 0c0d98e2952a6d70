"""What libraries' errors in a step mean, in the words of the configuration."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saip.errors import InputError, StoppedError

SHARED = Path('/dev/shm')
ONE_VALUE = 'Expected more than 1 value per channel when training'

# Not any shared memory: GPUs have one of another kind, of which compilers speak.
_SHARED = re.compile(
    r'shared memory ?\(shm\)|shared memory object|out of shared memory|</torch_\d+_|: Bus error'
)
_FILES = re.compile(r'Too many open files|received \d+ items of ancdata')
# What mmengine's ReduceOnPlateau schedules say after a validation.
_MONITOR = re.compile(r'Excepted key in \[(.*?)\], but got key (\S+) is not in dict')
_LOST = re.compile(r'DataLoader worker \(pid.*(?:exited unexpectedly|killed by signal)')


def explain_step(error: BaseException, cfg: Mapping[str, Any], loader: str) -> str | None:
    """Say which option removes an error that a step ended with.

    Args:
        error: what was raised.
        cfg: the configuration of the run.
        loader: key of the loader that the step took its images from.

    Returns:
        A line for users; None where the error is none of those that are known.
    """
    if isinstance(error, KeyError) and (found := _MONITOR.search(str(error))):
        return (
            f'param_scheduler.monitor={found[2]!r} is no metric of the validation, which gives '
            f'{found[1]}'
        )
    if isinstance(error, ValueError) and not isinstance(error, InputError):
        return explain_single(cfg, loader) if ONE_VALUE in str(error) else None
    options = cfg.get(loader) or {}
    keys = ('num_workers', 'batch_size')
    return explain_worker(error, ' or '.join(f'{loader}.{k}={options.get(k)}' for k in keys))


def explain_worker(error: BaseException, given: str) -> str | None:
    """Say which option removes an error of a data worker.

    Args:
        error: what was raised.
        given: options that make the workers fewer or their batches smaller, with their values.
    """
    if not isinstance(error, RuntimeError | OSError) or isinstance(
        error, InputError | StoppedError
    ):
        return None
    text = str(error)
    if _FILES.search(text):
        return f'the data workers need more open files: lower {given}, or raise `ulimit -n`'
    if _SHARED.search(text):
        return (
            f'the data workers need more shared memory than {_size(SHARED)}: lower {given}, or '
            'start the container with more, such as docker run --shm-size=8g or --ipc=host'
        )
    if lost := _LOST.search(text):
        return (
            f'a data worker ended without an error of its own ({lost.group()}); most often the '
            f'system ended it for want of memory: lower {given}'
        )
    return None


@contextmanager
def explained_worker(given: str) -> Iterator[None]:
    """Raise a StoppedError for an error of a data worker that options remove.

    Args:
        given: see :func:`explain_worker`.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        known = explain_worker(error, given)
        if known is None:
            raise
        raise StoppedError(known) from error


def explain_single(cfg: Mapping[str, Any], loader: str) -> str:
    """Say what to do where BatchNorm, in training, sees one value per channel."""
    size = (cfg.get(loader) or {}).get('batch_size')
    reason = (
        'a BatchNorm of the model (of a pooled map or of one vector per image) needs two images or '
        'more in a batch'
    )
    if size == 1:
        return f'{loader}.batch_size=1: {reason}; set it to 2 or more'
    return (
        f'{loader}.batch_size={size}: the last batch of an epoch holds one image, but {reason}; '
        f'set {loader}.drop_last=True or another batch_size'
    )


def _size(folder: Path) -> str:
    """Name a folder in memory, with its size if it has one."""
    try:
        return f'the {shutil.disk_usage(folder).total / 2**20:,.0f} MiB of {folder}'
    except OSError:
        return 'there is'
