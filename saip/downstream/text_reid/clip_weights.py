"""Weights of CLIP's text transformer as OpenAI and open_clip publish them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saip.checkpoint import CheckpointError
from saip.downstream.text_reid.torchscript import is_torchscript, read_torchscript
from saip.downstream.text_reid.transformer import PREFIX, Activation, CLIPTextTransformer
from saip.engine.converters.files import Conversion, fit, read_weights, write_weights

BLOCK = re.compile(
    r'transformer\.resblocks\.(\d+)'
    r'\.(ln_1|ln_2|attn\.in_proj|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)[._](weight|bias)'
)
PARTS = {
    'ln_1': 'norm1',
    'attn.in_proj': 'qkv',
    'attn.out_proj': 'proj',
    'ln_2': 'norm2',
    'mlp.c_fc': 'fc1',
    'mlp.c_proj': 'fc2',
}
OUTSIDE = {
    'token_embedding.weight': 'token_embedding.weight',
    'positional_embedding': 'positional_embedding',
    'ln_final.weight': 'norm.weight',
    'ln_final.bias': 'norm.bias',
}
DROPPED = (
    'visual.',
    'logit_scale',
    'logit_bias',
    'input_resolution',
    'context_length',
    'vocab_size',
    'attn_mask',
)
"""Contents of a file of CLIP besides its text transformer."""


def from_clip(
    weights: Mapping[str, Tensor], activation: Activation, heads: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Rename CLIP's weights.

    Args:
        weights: in OpenAI's or open_clip's names, half or single precision.
        activation: with which they were trained; nothing in them tells.
        heads: of each attention; None takes one for 64 channels, as CLIP has them.

    Returns:
        The weights of a :class:`CLIPTextTransformer` in single precision, and its
        ``architecture()``.

    Raises:
        CheckpointError: they are not those of such a transformer.
    """
    ours = _rename(weights)
    missing = [
        key
        for key in ('token_embedding.weight', 'positional_embedding', 'projection.weight')
        if key not in ours
    ]
    if missing:
        raise CheckpointError(
            f'no text transformer of CLIP: {", ".join(missing)} would have no value; the file has '
            f'{", ".join(list(weights)[:3])} ...'
        )
    vocab_size, width = ours['token_embedding.weight'].shape
    blocks = [int(match[1]) for key in ours if (match := re.match(r'blocks\.(\d+)\.', key))]
    options: dict[str, Any] = dict(
        width=width,
        layers=max(blocks, default=-1) + 1,
        heads=heads or max(1, width // 64),
        context=len(ours['positional_embedding']),
        vocab_size=vocab_size,
        dims=len(ours['projection.weight']),
        activation=activation,
    )
    with torch.device('meta'):
        module = CLIPTextTransformer(**options)
    fit(module.to_empty(device='cpu'), ours, "CLIP's text transformer")
    return ours, module.architecture()


def _rename(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = key.removeprefix('text.')  # of open_clip's models with a text tower of their own
        if name.startswith(DROPPED):
            continue
        if name == 'text_projection':
            name, value = 'projection.weight', value.T
        elif match := BLOCK.fullmatch(name):
            number, part, kind = match.groups()
            name = f'blocks.{number}.{PARTS[part]}.{kind}'
        ours[OUTSIDE.get(name, name)] = value.float().contiguous()
    return ours


def convert_clip_text(
    source: str | os.PathLike,
    target: str | os.PathLike,
    activation: Activation,
    heads: int | None = None,
) -> Conversion:
    """Write CLIP's text transformer as a file for ``model.text.init_cfg``.

    Args:
        source: OpenAI's archive, a state dict (bare, or below ``state_dict``) or safetensors.
        target: file to write, ``.safetensors`` or ``.pth``.
        activation: see :func:`from_clip`.
        heads: see :func:`from_clip`.

    Raises:
        CheckpointError: the source is damaged, or holds no such transformer.
        OSError: a file cannot be read or written.
    """
    path = Path(source).expanduser()
    weights = read_torchscript(path) if is_torchscript(path) else read_weights(path)[0]
    try:
        ours, architecture = from_clip(weights, activation, heads)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    tensors = {f'{PREFIX}{key}': value for key, value in ours.items()}
    write_weights(target, tensors, {'architecture': architecture}, path)
    dropped = tuple(k for k in weights if k.removeprefix('text.').startswith(DROPPED))
    options = {key: value for key, value in architecture.items() if key != 'type'}
    text = ', '.join(f'{key}={value!r}' for key, value in options.items())
    return Conversion(str(target), len(tensors), dropped, (f'model.text: {text}',))
