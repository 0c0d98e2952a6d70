"""The processes of a run: how they connect, how long they wait, what they decide together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.dist import broadcast_object_list, init_dist, is_main_process

from saip.errors import InputError, StartError

PATIENCE = 600
"""Seconds that a process waits for the others before it ends with an error. Nothing that all do
together takes minutes: the longest wait is for a checkpoint, or for the slowest share of a
validation."""

Answer = TypeVar('Answer')


def join_processes(cfg: Config, launcher: str) -> None:
    """Tell the configuration its launcher, and connect the processes.

    mmengine addresses a CUDA device when it connects processes and when it wraps the model, so
    on CPUs both are done in its place, with gloo.

    Raises:
        StartError: a launcher other than ``pytorch`` without CUDA.
    """
    cfg.launcher = launcher
    surroundings = dict(cfg.get('env_cfg') or {})
    connection = {'timeout': PATIENCE, **(surroundings.get('dist_cfg') or {})}
    cfg.env_cfg = {**surroundings, 'dist_cfg': connection}
    if launcher == 'none':
        return
    if torch.cuda.is_available():
        if not torch_dist.is_initialized():
            # Before mmengine chooses another, which its runner would have to take back.
            method = (surroundings.get('mp_cfg') or {}).get('mp_start_method', 'fork')
            mp.set_start_method(method, force=True)
            init_dist(launcher, **connection)
        return
    if launcher != 'pytorch':
        raise StartError(f'--launcher {launcher} needs CUDA; without it use --launcher pytorch')
    if not torch_dist.is_initialized():
        torch_dist.init_process_group('gloo', timeout=patience(cfg))
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


def leave_processes() -> None:
    """End the connection, if there is one."""
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def patience(cfg: Mapping[str, Any]) -> timedelta:
    """How long the processes of a configuration wait for each other.

    torch gives a group that is made later its own default, not that of the first one.
    """
    connection = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
    return timedelta(seconds=connection.get('timeout', PATIENCE))


def decided_by_first(decide: Callable[[], Answer]) -> Answer:
    """Return in every process what a function returns in process 0, or raise what it raises.

    Args:
        decide: called in process 0 alone. Its answer goes to the others as a pickle.

    Raises:
        InputError, OSError: the function's.
    """
    shared: list[Any] = [None, None]
    if is_main_process():
        try:
            shared[0] = decide()
        except (InputError, OSError) as error:
            shared[1] = error
    broadcast_object_list(shared)
    answer, failure = shared
    if failure is not None:
        raise failure
    return answer
