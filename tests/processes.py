"""Processes that are connected by gloo, as torchrun would start them."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def set_process(rank: int, world: int, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what torchrun sets, and hide CUDA."""
    variables = dict(
        RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR='127.0.0.1', MASTER_PORT=port
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


def in_processes(
    world: int, folder: Path, function: Callable[..., Any], *arguments: Any
) -> list[Any]:
    """What a function of a module returns in each of several processes, by way of JSON files."""
    mp.spawn(_work, (world, free_port(), folder, function, arguments), nprocs=world)
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(world)]


def _work(
    rank: int, world: int, port: int, folder: Path, function: Callable, arguments: tuple
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_process(rank, world, port, monkeypatch)
        result = function(*arguments)
    (folder / f'{rank}.json').write_text(json.dumps(result))
