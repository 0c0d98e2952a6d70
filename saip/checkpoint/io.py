"""Reading and writing checkpoint files without running code from them, unless a user allows it."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import pickle
import re
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from mmengine.logging import HistoryBuffer, print_log

from saip.datasets.files import write_atomic
from saip.errors import InputError, MissingFileError

SAFETENSORS_KEY = 'saip'
"""Name of the metadata entry of a safetensors file that holds the meta as JSON."""

UNSAFE = 'SAIP_UNSAFE_PICKLE'
"""Environment variable that, if it is 1, lets checkpoint files run their code."""

_HISTORY_METHODS = ('min', 'max', 'mean', 'current')
_NUMPY_FUNCTIONS = {
    'scalar': np.float64(0).__reduce__()[0],
    '_reconstruct': np.zeros(0).__reduce__()[0],
}
_DTYPES = (np.bool_, np.str_, *(np.dtype(code).type for code in 'bhilqBHILQefd'))


class CheckpointError(InputError):
    """A checkpoint file cannot be read, or does not hold what was asked for."""


def _history_method(owner: object, name: str) -> Callable:
    """Stand in for ``getattr``, which mmengine's log buffers ask for when unpickled."""
    if owner is not HistoryBuffer or name not in _HISTORY_METHODS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner}, {name!r})')
    return getattr(HistoryBuffer, name)


def training_globals() -> list[Any]:
    """Classes that a checkpoint of mmengine's Runner holds besides tensors and plain values.

    They come from the message hub: log buffers of numpy arrays and numpy numbers. ``getattr``
    is replaced by a function that reads nothing but the statistics of a log buffer.
    """
    # numpy 1 and 2 name the module of the two functions differently.
    functions = [
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')
        for name, function in _NUMPY_FUNCTIONS.items()
    ]
    dtypes = [type(np.dtype(kind)) for kind in _DTYPES]
    return [
        HistoryBuffer,
        (_history_method, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *dtypes,
        *functions,
    ]


def load_checkpoint_file(
    path: str | os.PathLike, extra_globals: Sequence[Any] = ()
) -> dict[str, Any]:
    """Read a checkpoint on the CPU: safetensors by its suffix, everything else by torch.

    Args:
        path: the file.
        extra_globals: classes that the file may hold besides those of a training checkpoint.

    Returns:
        The checkpoint. Of a safetensors file: ``{'state_dict': ..., 'meta': ...}``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is empty, truncated, damaged, of another kind, or asks to run
            code.
    """
    checkpoint = read_plainly(path, 'cpu', extra_globals)
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise CheckpointError(f'{path}: holds a {kind}, a checkpoint is a dict')
    return checkpoint


def read_plainly(
    path: str | os.PathLike, map_location: Any, extra_globals: Sequence[type] = ()
) -> Any:
    """Read whatever a file of torch or safetensors holds, as :func:`load_checkpoint_file` does.

    Args:
        path: the file.
        map_location: where torch puts tensors; safetensors stay on the CPU.
        extra_globals: see :func:`load_checkpoint_file`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: as :func:`load_checkpoint_file`.
    """
    path = Path(path).expanduser()
    _check_is_file(path)
    if path.stat().st_size == 0:
        raise CheckpointError(f'{path}: the checkpoint file is empty')
    if path.suffix == '.safetensors':
        return _load_safetensors(path)
    try:
        content = _load_torch(path, map_location, extra_globals)
    except Exception as error:  # damaged bytes surface as any exception of the unpickler
        raise CheckpointError(f'{path}: {reason(error, path)}') from error
    if isinstance(content, dict):
        _check_sum(content, path)
    return content


def _load_torch(path: Path, map_location: Any, extra_globals: Sequence[type]) -> Any:
    try:
        with torch.serialization.safe_globals([*training_globals(), *extra_globals]):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        if not unsafe_allowed():
            raise
    text = f'{path}: asks for more than weights, and may run its code ({UNSAFE}=1)'
    print_log(text, 'current', logging.WARNING)
    return torch.load(path, map_location=map_location, weights_only=False)


def unsafe_allowed() -> bool:
    """Whether the user lets checkpoint files run their code."""
    return os.environ.get('SAIP_UNSAFE_PICKLE') == '1'


def read_meta(path: str | os.PathLike) -> dict[str, Any]:
    """Read what a checkpoint of torch's format says of itself, without reading its tensors.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, of another kind, or of a format from before torch 1.6.
    """
    path = Path(path)
    _check_is_file(path)
    try:
        with torch.serialization.safe_globals(training_globals()):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except Exception as error:  # damaged bytes surface as any exception of the unpickler
        raise CheckpointError(f'{path}: {reason(error, path)}') from error
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    return meta if isinstance(meta, dict) else {}


def read_torch_file(path: str | os.PathLike, allowed: Sequence[Any]) -> Any:
    """Read what ``torch.save`` wrote, with no code but that of ``allowed``.

    Args:
        path: the file.
        allowed: classes that the file may hold beside tensors and plain values, or pairs of a
            class and the full name for which it stands.

    Raises:
        CheckpointError: the file is truncated, damaged, or asks to run other code.
    """
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # damaged bytes surface as any exception of the unpickler
        raise CheckpointError(f'{path}: {reason(error, path)}') from error


def _check_sum(checkpoint: dict[str, Any], path: Path) -> None:
    """Compare the tensors of an exported file with the sum in its meta; others have none."""
    meta = checkpoint.get('meta')
    wanted = meta.get('tensors_sha256') if isinstance(meta, dict) else None
    if wanted is not None and tensors_sha256(checkpoint['state_dict']) != wanted:
        raise CheckpointError(
            f'{path}: damaged: its tensors are not those that it was written with (SHA-256 in '
            'its meta); copy or write it again'
        )


def reason(error: Exception, path: str | os.PathLike) -> str:
    """Return why torch could not read a file, for the message that names it."""
    # torch looks for the end of a short file before its beginning: EINVAL.
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
        return error.strerror
    asked = re.search(r'(?:GLOBAL|class) ([\w.]+(?:\(.*?\))?)', str(error))
    if isinstance(error, pickle.UnpicklingError) and asked:
        return (
            f'refused, because reading it would run {asked.group(1)}, which no checkpoint of '
            f'this project needs; {UNSAFE}=1 in the environment reads it all the same, and runs '
            'whatever its author put into it'
        )
    if isinstance(error, pickle.UnpicklingError) and _is_plain_pickle(path):
        return (
            'refused: a pickle of Python that torch did not write, and reading it may run code; '
            'write its weights again by torch.save or as safetensors'
        )
    return 'truncated, damaged, or not a checkpoint at all; copy or write it again'


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        raise MissingFileError(f'{path}: a folder; name the checkpoint file in it')
    if not path.is_file():
        raise MissingFileError(f'{path}: no such checkpoint file')


def _is_plain_pickle(path: str | os.PathLike) -> bool:
    """Whether a file begins as pickles of Python do; torch writes a ZIP or protocol 2."""
    if not Path(path).is_file():  # a loader of mmengine may have downloaded it
        return False
    with open(path, 'rb') as file:
        begin = file.read(2)
    return begin[:1] == b'\x80' and begin[1:] in (b'\x03', b'\x04', b'\x05')


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework='pt', device='cpu') as file:
            metadata = file.metadata() or {}
            state_dict = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = json.loads(metadata.get(SAFETENSORS_KEY, '{}'))
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f'{path}: truncated, damaged, or not safetensors; copy or write it again'
        ) from error
    checkpoint = {'state_dict': state_dict, 'meta': meta}
    _check_sum(checkpoint, path)
    return checkpoint


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tensors_sha256(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, whatever the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}\n'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def not_finite(tensors: dict[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or an infinite value."""
    return [name for name, tensor in tensors.items() if not tensor.isfinite().all()]


def write_checkpoint(
    path: str | os.PathLike, tensors: dict[str, torch.Tensor], meta: dict[str, Any]
) -> None:
    """Write tensors and plain values: ``.safetensors`` by its suffix, everything else by torch.

    The same contents give the same bytes; :func:`load_checkpoint_file` gives them back as
    ``{'state_dict': tensors, 'meta': meta}``.
    """
    kind = Path(path).suffix
    content = _safetensors_bytes if kind == '.safetensors' else _pth_bytes
    write_atomic(path, content(tensors, meta), lasting=True)


def _pth_bytes(tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    torch.save({'state_dict': tensors, 'meta': meta}, buffer)
    return buffer.getvalue()


def _safetensors_bytes(tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> bytes:
    return safetensors.torch.save(tensors, metadata={SAFETENSORS_KEY: json.dumps(meta)})
