"""DALL-E's published tokenizer, as plain weights.

``encoder.pkl`` is a module that ``torch.save`` pickled whole: reading it the usual way imports the
package ``dall_e`` and runs what the pickle says. Here its classes are replaced by empty ones that
keep what the pickle gives them, torch's reader for weights refuses everything else, and the
tensors are taken from what was kept. Nothing of the file is run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saip.checkpoint import CheckpointError
from saip.checkpoint.io import read_torch_file, training_globals
from saip.engine.converters.files import Conversion, StateDict, fit, write_weights
from saip.errors import MissingFileError
from saip.models.tokenizers import DALLETokenizer

MODULES = (
    'dall_e.encoder.Encoder',
    'dall_e.encoder.EncoderBlock',
    'dall_e.utils.Conv2d',
    'torch.nn.modules.activation.ReLU',
    'torch.nn.modules.container.Sequential',
    'torch.nn.modules.linear.Identity',
    'torch.nn.modules.pooling.MaxPool2d',
)
"""Classes of the published encoder."""

NAMES = (
    (r'blocks\.input\.(w|b)', r'input.{}'),
    (r'blocks\.group_(\d)\.block_(\d)\.id_path\.(w|b)', r'groups.{}.{}.shortcut.{}'),
    (
        r'blocks\.group_(\d)\.block_(\d)\.res_path\.conv_(\d)\.(w|b)',
        r'groups.{}.{}.convs.{}.{}',
    ),
    (r'blocks\.output\.conv\.(w|b)', r'output.{}'),
)
"""Published names and ours; numbers begin at 1 there and at 0 here."""

EXPECTED = (
    "the encoder.pkl that OpenAI publishes with DALL-E's discrete VAE "
    '(cdn.openai.com/dall-e/encoder.pkl), or a state dict with its names'
)


class _Kept:
    """Stands for a module of the pickle, and keeps its state."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def dalle_to_saip(source: str | os.PathLike, target: str | os.PathLike) -> Conversion:
    """Write the weights of ``saip.DALLETokenizer``.

    Args:
        source: ``encoder.pkl``, or a file with a state dict of the same names.
        target: file to write; ``.safetensors`` or any torch suffix.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, asks to run code, or is no such tokenizer.
        OSError: a file cannot be read or written.
    """
    if not Path(source).is_file():
        raise MissingFileError(f'{source}: no such file; it has to be {EXPECTED}')
    kept = [(type(name.rsplit('.', 1)[1], (_Kept,), {}), name) for name in MODULES]
    content = read_torch_file(source, [*training_globals(), *kept])
    tensors = rename_dalle(_tensors(content), str(source))
    width, codes = len(tensors['input.weight']), len(tensors['output.weight'])
    tokenizer = DALLETokenizer(width, codes)
    tensors = {name: x.float() for name, x in tensors.items()}
    fit(tokenizer, tensors, "DALL-E's encoder")
    settings = {'type': 'saip.DALLETokenizer', 'width': width, 'num_codes': codes}
    write_weights(target, tensors, {'tokenizer': settings}, source)
    notes = (f'tokenizer={settings}', f'name it by SAIP_TOKENIZER={target}')
    return Conversion(str(target), len(tensors), notes=notes)


def _tensors(content: Any, prefix: str = '') -> StateDict:
    """Tensors of kept modules, or of a dict of them, by their dotted names."""
    if isinstance(content, dict):
        inner = content.get('state_dict', content)
        return {key: x for key, x in inner.items() if torch.is_tensor(x)}
    state = getattr(content, 'state', None)
    if not isinstance(state, dict):
        return {}
    own = {**state.get('_parameters', {}), **state.get('_buffers', {})}
    found: dict[str, Tensor] = {
        f'{prefix}{name}': x.detach() for name, x in own.items() if torch.is_tensor(x)
    }
    for name, module in state.get('_modules', {}).items():
        found |= _tensors(module, f'{prefix}{name}.')
    return found


def rename_dalle(tensors: StateDict, path: str) -> StateDict:
    """Give the published tensors our names.

    Raises:
        CheckpointError: a name is not among the published ones, or there is none.
    """
    renamed = {}
    for name, value in tensors.items():
        new = _rename(name)
        if new is None:
            raise CheckpointError(f'{path}: {name} is no tensor of {EXPECTED}')
        renamed[new] = value
    if not {'input.weight', 'output.weight'} <= set(renamed):
        raise CheckpointError(f'{path}: holds no tokenizer; it has to be {EXPECTED}')
    return renamed


def _rename(name: str) -> str | None:
    for pattern, new in NAMES:
        match = re.fullmatch(pattern, name)
        if match:
            *numbers, kind = match.groups()
            leaf = {'w': 'weight', 'b': 'bias'}[kind]
            return new.format(*(int(n) - 1 for n in numbers), leaf)
    return None
