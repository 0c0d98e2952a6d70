"""Regressor and decoder of a published CAE checkpoint, as parts of a training of ours.

One public code keeps both below ``pretext_neck.``, the other below ``regresser.`` and ``decoder.``.
Both add positions to tokens whose first half of channels is of the row; here it is of the column.
A network computes the same after the two halves of all its tokens change places, so all layers that
read or write tokens are changed, those of the encoder too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saip.checkpoint import CheckpointError
from saip.engine.converters.files import StateDict, fit
from saip.engine.converters.names import rename, renaming_rules
from saip.models.backbones import BaseEncoder
from saip.models.necks import LatentRegressor, MaskedLatentDecoder
from saip.models.necks.latent_regressor import HEAD_WIDTH

REGRESSOR_BLOCK = {
    'norm1_q': 'norm_query',
    'norm1_k': 'norm_key',
    'norm1_v': 'norm_value',
    'cross_attn.q': 'query',
    'cross_attn.q_bias': 'query.bias',
    'cross_attn.k': 'key',
    'cross_attn.v': 'value',
    'cross_attn.v_bias': 'value.bias',
    'cross_attn.proj': 'proj',
    'gamma_1_cross': 'gain1.weight',
    'norm2_cross': 'norm2',
    'mlp_cross.fc1': 'mlp.fc1',
    'mlp_cross.fc2': 'mlp.fc2',
    'gamma_2_cross': 'gain2.weight',
}
DECODER_BLOCK = {
    'norm1': 'norm1',
    'attn.qkv': 'attn.qkv',
    'attn.proj': 'attn.proj',
    'gamma_1': 'gain1.weight',
    'norm2': 'norm2',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
    'gamma_2': 'gain2.weight',
}
COPIES = ('teacher.', 'alignment_encoder.', 'rd_pos_embed')
"""The encoder's copy for the alignment, and a table of positions: both are made anew."""

LAST = (
    r'(^|\.)(cls_token|pos_embed|mask_token'
    r'|(qkv|0\.0|query|key|value|fc1|predict|embed\.0)\.weight)$'
)
FIRST = (
    r'(^|\.)((ln\d|norm\w*|proj|projection|ffn\.layers\.1|fc2|embed\.[01])\.(weight|bias)'
    r'|(gamma|gain)\d\.weight)$'
)
"""Ends of names of what has the channels of tokens in its last, and in its first, dimension."""


def _table(regressor: str, decoder: str, names: Mapping[str, str]) -> dict[str, str]:
    """Their names and ours."""
    return {
        **{f'{regressor}.*.{k}': f'regressor.blocks.*.{v}' for k, v in REGRESSOR_BLOCK.items()},
        **{f'{decoder}.*.{k}': f'decoder.blocks.*.{v}' for k, v in DECODER_BLOCK.items()},
        'mask_token': 'regressor.mask_token',
        **names,
    }


LAYOUTS = {
    'pretext_neck.': _table(
        'pretext_neck.regressor_blocks',
        'pretext_neck.decoder_blocks',
        {
            'encoder_to_decoder': 'regressor.embed.0',
            'encoder_to_decoder_norm': 'regressor.embed.1',
            'pretext_neck.norm': 'regressor.norm',
            'pretext_neck.norm2': 'decoder.norm',
            'pretext_neck.head': 'decoder.predict',
        },
    ),
    'regresser.': _table(
        'regresser.regressor_blocks',
        'decoder.decoder_blocks',
        {
            'encoder_to_regresser': 'regressor.embed.0',
            'encoder_to_regresser_norm': 'regressor.embed.1',
            'regresser.norm': 'regressor.norm',
            'decoder.norm': 'decoder.norm',
            'decoder.head': 'decoder.predict',
        },
    ),
}
"""Tables by what the keys of the regressor begin with."""


class Parts(NamedTuple):
    """Regressor and decoder.

    Attributes:
        tensors: by their names below the objective.
        options: of the training's configuration, where they differ from the preset's.
        copies: keys of the file that are made anew.
    """

    tensors: StateDict
    options: dict[str, Any]
    copies: tuple[str, ...]


def take_parts(
    beside: StateDict, encoder: BaseEncoder, args: Mapping[str, Any], path: str
) -> Parts:
    """Name regressor and decoder as ours, and check that they are whole.

    Args:
        beside: what lies beside the encoder.
        encoder: the encoder.
        args: the command of the training, as far as it is known.
        path: of the file, for messages.

    Raises:
        CheckpointError: there is no regressor or no decoder, keys or shapes are others, or images
            are no squares, where the positions of the public codes are not in raster order.
    """
    height, width = encoder.img_size
    if height != width:
        raise CheckpointError(
            f'{path}: --whole is for squares, not for images of {height}x{width}'
        )
    layout = next((x for x in LAYOUTS if any(key.startswith(x) for key in beside)), None)
    stacks = ('regressor_blocks.', 'decoder_blocks.')
    if layout is None or not all(any(x in key for key in beside) for x in stacks):
        raise CheckpointError(
            f'{path}: --whole needs the blocks of a regressor and of a decoder beside the encoder, '
            'as a checkpoint of a pretraining with CAE has (CAE v2 has no such decoder)'
        )
    copies = tuple(key for key in beside if key.startswith(COPIES))
    theirs = {key: x for key, x in beside.items() if key not in copies}
    rules = renaming_rules(LAYOUTS[layout])
    theirs = fuse_biases(theirs, path)
    names = {key: rename(key, rules) for key in theirs}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        raise CheckpointError(f'{path}: unknown names {", ".join(unknown[:5])}')
    tensors = {str(names[key]): x.float() for key, x in theirs.items()}
    if args.get('decoder_layer_scale_init_value') == 0:  # gains of 1 that were not trained
        tensors = {key: x for key, x in tensors.items() if '.gain' not in key}
    _check(tensors, encoder.embed_dims)
    return Parts(tensors, _options(tensors, encoder.embed_dims, args), copies)


def fuse_biases(weights: StateDict, path: str) -> StateDict:
    """Make one bias of those of queries and values, with 0 for the keys."""
    fused = {}
    for key, value in weights.items():
        if key.endswith('.attn.v_bias'):
            continue
        if key.endswith('.attn.q_bias'):
            others = weights.get(key.replace('q_bias', 'v_bias'))
            if others is None:
                raise CheckpointError(f'{path}: has {key}, but no bias of the values beside it')
            value = torch.cat([value, torch.zeros_like(value), others])
            key = key.replace('q_bias', 'qkv.bias')
        fused[key] = value
    return fused


def _depth(tensors: StateDict, part: str) -> int:
    return len({key.split('.')[2] for key in tensors if key.startswith(f'{part}.blocks.')})


def _check(tensors: StateDict, width: int) -> None:
    """Load them into modules of ours.

    Raises:
        CheckpointError: keys or shapes differ.
    """
    dims = tensors['regressor.mask_token'].shape[-1] if 'regressor.mask_token' in tensors else 0
    hidden = tensors.get('decoder.blocks.0.mlp.fc1.weight')
    head = tensors.get('decoder.predict.weight')
    if not dims or dims % 4 or hidden is None or head is None:
        raise CheckpointError(
            'has no mask token of a multiple of 4 channels, or no layers of a decoder: not the '
            'checkpoint of a pretraining with CAE'
        )
    gain = 0.1 if any('.gain' in key for key in tensors) else 0.0
    ratio = len(hidden) / dims
    regressor = LatentRegressor(
        width, (1, 1), dims, _depth(tensors, 'regressor'), 1, ratio, gain
    )
    decoder = MaskedLatentDecoder(dims, len(head), _depth(tensors, 'decoder'), 1, ratio, gain)
    parts: dict[str, nn.Module] = {'regressor': regressor, 'decoder': decoder}
    for part, module in parts.items():
        own = {
            key.removeprefix(f'{part}.'): x
            for key, x in tensors.items()
            if key.startswith(f'{part}.')
        }
        fit(module, own, f"CAE's {part}")


def _options(tensors: StateDict, width: int, args: Mapping[str, Any]) -> dict[str, Any]:
    """Options that the configuration needs beside those of preset ``cae``."""
    dims = tensors['regressor.mask_token'].shape[-1]
    heads, gain = args.get('decoder_num_heads'), args.get('decoder_layer_scale_init_value')
    options: dict[str, Any] = {} if dims == width else {'regressor.dims': dims}
    for part in ('regressor', 'decoder'):
        depth = _depth(tensors, part)
        if depth != 4:
            options[f'{part}.depth'] = depth
        if heads is not None and heads != max(1, dims // HEAD_WIDTH):
            options[f'{part}.num_heads'] = heads
        if gain is not None and gain != 0.1:
            options[f'{part}.layer_scale'] = gain
    return {f'model.objectives.cae.{key}': value for key, value in options.items()}


def swap_halves(tensors: StateDict) -> StateDict:
    """Let the two halves of the channels of all tokens change places."""
    return {key: _swapped(key, value) for key, value in tensors.items()}


def _swapped(key: str, value: Tensor) -> Tensor:
    if re.search(LAST, key):
        value = value.roll(value.shape[-1] // 2, -1)
    if re.search(FIRST, key):
        value = value.roll(value.shape[0] // 2, 0)
    return value
