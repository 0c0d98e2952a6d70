"""Published CAE checkpoints, as encoders of ours.

Both public codes keep the encoder below ``encoder.``, with the names of BEiT: one matrix for
queries, keys and values, and biases for queries and values alone. What lies beside it (the copy
for the alignment, regressor, decoder) is dropped and named; for a whole training state regressor
and decoder are taken too.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from saip.checkpoint import STATISTICS, CheckpointError, infer_grid, load_checkpoint_file
from saip.engine.converters.cae_parts import fuse_biases, swap_halves, take_parts
from saip.engine.converters.files import Conversion, StateDict, describe, fit, write_weights
from saip.engine.converters.names import rename, renaming_rules
from saip.engine.converters.vit import TIMM, Size, vit_arch
from saip.models.backbones import BaseEncoder, build_encoder
from saip.models.ops.pos_embed import sincos_positions

ENCODER = 'encoder.'
TABLE = {
    **TIMM,
    'blocks.*.gamma_1': 'layers.*.attn.gamma1.weight',
    'blocks.*.gamma_2': 'layers.*.ffn.gamma2.weight',
}
HEADS = {192: 12, 384: 12, 768: 12, 1024: 16}
"""Heads of CAE's models, by their width: tiny, small, base and large."""

GAINS = {192: 0.1, 384: 0.1, 768: 0.1, 1024: 1e-5}
"""LayerScale of CAE's models at the beginning, by their width."""

NOT_TAKEN = {
    'optimizer': 'its moments are of parameters that are split otherwise',
    'scaler': 'bfloat16 needs none',
    'model_ema': 'the training here has no average beside the encoder',
}
"""Entries of a file that no training state of ours takes, and why."""

HALF = {'mean': [127.5] * 3, 'std': [127.5] * 3, 'color_order': STATISTICS['color_order']}


def cae_to_saip(
    source: str | os.PathLike,
    target: str | os.PathLike,
    num_heads: int | None = None,
    img_size: Size | None = None,
    whole: bool = False,
) -> Conversion:
    """Write the encoder of a published CAE checkpoint, or all weights of its training.

    Args:
        source: checkpoint of a pretraining, or a bare encoder of it.
        target: file to write; ``.safetensors`` or any torch suffix.
        num_heads: heads per block, which no shape shows; None takes CAE's for this width.
        img_size: (height, width) that the positions belong to; None takes a known one with that
            many patches.
        whole: also write regressor and decoder, below ``objectives.cae.``, for ``model.init_from``
            of a training; the channels of the encoder are then in another order, see
            :mod:`saip.engine.converters.cae_parts`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no such file, asks to run code, has relative position bias, or is
            to be written whole and has no regressor or decoder.
        WeightsError: the size of the positions cannot be told.
        OSError: a file cannot be read or written.
    """
    checkpoint = load_checkpoint_file(source, [Namespace])
    everything = _weights(checkpoint, str(source))
    weights, dropped = _take_encoder(everything)
    args = vars(checkpoint['args']) if isinstance(checkpoint.get('args'), Namespace) else {}
    weights = _rename(weights, str(source))
    encoder = _build(weights, args, num_heads, img_size)
    fit(encoder, weights, "CAE's encoder")
    statistics, notes = _statistics(args)
    meta = {
        'architecture': encoder.architecture(),
        'statistics': statistics,
        'feature': 'patch_mean',
        'epoch': checkpoint.get('epoch'),
    }
    tensors = {f'backbone.{key}': x for key, x in encoder.state_dict().items()}
    if whole:
        beside = {key: everything[key] for key in dropped}
        parts = take_parts(beside, encoder, args, str(source))
        tensors |= {f'objectives.cae.{key}': x for key, x in parts.tensors.items()}
        tensors, dropped = swap_halves(tensors), parts.copies
        notes += _how_to_continue(checkpoint, args, str(target), parts.options)
    write_weights(target, tensors, describe(meta, encoder), source)
    return Conversion(str(target), len(tensors), dropped, notes)


def _how_to_continue(
    checkpoint: Mapping[str, Any], args: Mapping[str, Any], path: str, options: dict[str, Any]
) -> tuple[str, ...]:
    """Lines about what of a training is not taken, and the options that continue it."""
    given = {
        'model.init_from.checkpoint': path,
        'model.init_from.prefixes.backbone': 'backbone',
        'model.init_from.prefixes.objectives': 'objectives',
        **options,
    }
    left = [f'{key}: {why}' for key, why in NOT_TAKEN.items() if key in checkpoint]
    if 'epoch' in checkpoint:
        left.append(f'epoch {checkpoint["epoch"]}: schedules begin anew')
    notes = [f'not taken: {"; ".join(left)}'] if left else []
    if 'decoder_num_heads' not in args:
        notes.append(
            'note: the file does not say the heads of regressor and decoder; one for every 64 '
            'channels is assumed (model.objectives.cae.regressor.num_heads, .decoder.num_heads)'
        )
    return (
        *notes,
        f'--cfg-options {" ".join(f"{key}={value}" for key, value in given.items())}',
    )


def _weights(checkpoint: Mapping[str, Any], path: str) -> StateDict:
    """The tensors, whatever they are wrapped in."""
    inner: Any = next(
        (checkpoint[key] for key in ('model', 'state_dict', 'module') if key in checkpoint),
        checkpoint,
    )
    tensors = {key.removeprefix('module.'): x for key, x in inner.items() if torch.is_tensor(x)}
    if not tensors:
        raise CheckpointError(
            f'{path}: no weights found, neither bare nor below model, state_dict or module'
        )
    return tensors


def _take_encoder(weights: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Separate the encoder; also the names of what is dropped."""
    if not any(key.startswith(ENCODER) for key in weights):
        heads = tuple(key for key in weights if key.startswith(('head.', 'fc_norm.')))
        return {key: x for key, x in weights.items() if key not in heads}, heads
    dropped = tuple(key for key in weights if not key.startswith(ENCODER))
    found = {k.removeprefix(ENCODER): x for k, x in weights.items() if k.startswith(ENCODER)}
    return found, dropped


def _rename(weights: StateDict, path: str) -> StateDict:
    """Our names; biases of queries and values become one with 0 for the keys."""
    relative = [key for key in weights if 'rel' in key and 'pos' in key]
    if relative:
        raise CheckpointError(
            f'{path}: has relative position bias ({relative[0]}), which fine-tuned models of CAE '
            'have; take the checkpoint of the pretraining'
        )
    rules = renaming_rules(TABLE)
    renamed: StateDict = {}
    unknown = []
    for key, value in fuse_biases(weights, path).items():
        new = rename(key, rules)
        if new is None:
            unknown.append(key)
        else:
            renamed[new] = value.float()
    if unknown or 'cls_token' not in renamed or 'layers.0.ffn.layers.0.0.bias' not in renamed:
        named = f': unknown names {", ".join(unknown[:5])}' if unknown else ''
        raise CheckpointError(f'{path}: no encoder of CAE{named}')
    return renamed


def _build(
    weights: StateDict, args: Mapping[str, Any], num_heads: int | None, img_size: Size | None
) -> BaseEncoder:
    """Build the encoder; adds the table of positions where a file has none."""
    arch = vit_arch(weights)
    heads = num_heads or HEADS.get(arch['embed_dims'])
    if heads is None:
        raise CheckpointError(
            f'CAE has no model of width {arch["embed_dims"]}, and no shape shows the heads; give '
            'them (--num-heads)'
        )
    patch = weights['patch_embed.projection.weight'].shape[-1]
    if img_size is None and 'pos_embed' in weights:
        rows, columns = infer_grid(weights['pos_embed'].shape[1] - 1, patch)
        img_size = (rows * patch, columns * patch)
    size = img_size or (224, 224)
    if 'pos_embed' not in weights:
        weights['pos_embed'] = _positions((size[0] // patch, size[1] // patch), arch)
    gain = args.get('layer_scale_init_value') or GAINS.get(arch['embed_dims'], 0.1)
    gains = any('gamma' in key for key in weights)
    return build_encoder(
        {
            'type': 'saip.ViTEncoder',
            'arch': {**arch, 'num_heads': heads},
            'img_size': list(size),
            'patch_size': patch,
            'feature_level': None,
            'pos_interp': 'grid2d',
            **({'layer_scale': gain} if gains else {}),
        }
    )


def _positions(grid: tuple[int, int], arch: Mapping[str, int]) -> Tensor:
    """CAE's table: on squares ours with the waves of rows before those of columns."""
    if grid[0] != grid[1]:
        raise CheckpointError(
            f"the file has no positions, and CAE's formula knows squares, not {grid[0]}x{grid[1]}"
        )
    table = sincos_positions(grid, arch['embed_dims'])
    columns, rows = table.chunk(2, 1)
    table = torch.cat([rows, columns], 1)
    return torch.cat([torch.zeros_like(table[:1]), table])[None]


def _statistics(args: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Statistics of the pixels, as the command of the training says."""
    if 'imagenet_default_mean_and_std' in args:
        return (STATISTICS if args['imagenet_default_mean_and_std'] else HALF), ()
    note = (
        'note: the file does not say how its pixels were normalized; the statistics of ImageNet '
        "are recorded, which CAE's pretraining on ImageNet has"
    )
    return STATISTICS, (note,)
