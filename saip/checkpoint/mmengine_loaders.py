"""How mmengine, and the libraries on it, read files of weights once this project is imported.

Whatever loads weights there asks ``CheckpointLoader``: the Runner (``load_from``, ``resume``),
``init_cfg=dict(type='Pretrained')`` of any module, the ``init_model`` of the libraries. mmengine's
own loaders try to read weights alone and, where a file asks for more, read it again and run what
it asks for. These here raise a CheckpointError instead, unless ``SAIP_UNSAFE_PICKLE=1`` is set.
"""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from saip.checkpoint.io import CheckpointError, read_plainly, reason, unsafe_allowed

_ONLY_WEIGHTS = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
_NOT_ONLY_WEIGHTS = 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
"""Environment variables of torch that overrule the arguments of ``torch.load``."""

Loader = Callable[..., Any]


def refuse_code() -> None:
    """Register loaders that run no code, for files and for all other places mmengine knows.

    Calling it again changes nothing.
    """
    for prefix, loader in list(CheckpointLoader._schemes.items()):
        if loader.__module__ == __name__ or getattr(loader, '__wrapped__', None) is not None:
            continue
        ours = load_from_local if prefix == '' else _without_code(loader)
        CheckpointLoader.register_scheme(prefix, ours, force=True)


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """Read a file, in the place of mmengine's loader of this name.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it cannot be read, or asks to run code.
    """
    return read_plainly(filename, map_location)


def _without_code(loader: Loader) -> Loader:
    """Let a loader that downloads what it reads find nothing but weights in it."""

    @functools.wraps(loader)
    def load(filename: str, *args: Any, **kwargs: Any) -> Any:
        if unsafe_allowed():
            return loader(filename, *args, **kwargs)
        try:
            with _only_weights():
                return loader(filename, *args, **kwargs)
        except pickle.UnpicklingError as error:
            raise CheckpointError(f'{filename}: {reason(error, filename)}') from error

    return load


@contextmanager
def _only_weights() -> Iterator[None]:
    """Let torch read weights alone, even where it is asked for more."""
    before = {name: os.environ.pop(name, None) for name in (_ONLY_WEIGHTS, _NOT_ONLY_WEIGHTS)}
    os.environ[_ONLY_WEIGHTS] = '1'
    try:
        yield
    finally:
        del os.environ[_ONLY_WEIGHTS]
        os.environ.update({name: value for name, value in before.items() if value is not None})
