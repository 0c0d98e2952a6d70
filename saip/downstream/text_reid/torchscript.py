"""Reading the tensors of a TorchScript archive without running what it holds.

OpenAI publishes CLIP as such an archive: a zip with code, with ``data.pkl``, a pickle of nested
modules, and with one file of raw values per storage. ``torch.jit.load`` compiles the code, and
torch treats such files as programs; the pickle alone is read here, by an unpickler that
knows tensors and plain values and makes an empty object of every module.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saip.checkpoint import CheckpointError

_DTYPES = {
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'FloatStorage': torch.float32,
    'DoubleStorage': torch.float64,
    'ByteStorage': torch.uint8,
    'IntStorage': torch.int32,
    'LongStorage': torch.int64,
    'BoolStorage': torch.bool,
}


class _Module:
    """Stands for a module of the archive; its parts are its attributes."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def is_torchscript(path: Path) -> bool:
    """Whether a file is a zip with compiled code beside its data."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split('/')[1:2] == ['code'] for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Tensors of all modules by their dotted names, as ``state_dict()`` would have them.

    Raises:
        CheckpointError: the archive is damaged, or its pickle asks for something else than
            tensors, modules and plain values.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.split('/')[1:] == ['data.pkl'])
            folder = name.removesuffix('data.pkl') + 'data/'
            content = archive.read(name)
            root = _Unpickler(content, lambda key: archive.read(folder + key)).load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(f'{path}: {error}') from error
    except Exception as error:  # damaged bytes surface as any exception of the unpickler
        raise CheckpointError(
            f'{path}: damaged, or no archive of a model ({type(error).__name__}: {error})'
        ) from error
    return dict(_tensors_of(root, ''))


def _tensors_of(module: Any, prefix: str) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found.append((prefix + name, value))
        elif isinstance(value, _Module):
            found += _tensors_of(value, f'{prefix}{name}.')
    return found


class _Unpickler(pickle.Unpickler):
    """Makes nothing but tensors, plain values and empty modules."""

    def __init__(self, content: bytes, read: Callable[[str], bytes]) -> None:
        super().__init__(BytesIO(content))
        self._read = read

    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == '__torch__':
            return _Module
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return _tensor
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch.jit._pickle':  # typed lists
            return _first
        if module == 'torch' and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(
            f'refused, because reading it would run {module}.{name}, which no weights need'
        )

    def persistent_load(self, pid: Sequence[Any]) -> Tensor:
        _, dtype, key, _, number = pid
        values = bytearray(self._read(key))
        return torch.frombuffer(values, dtype=dtype, count=number)


def _tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *rest: Any
) -> Tensor:
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _first(value: Any, *rest: Any) -> Any:
    return value
