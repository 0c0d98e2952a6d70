"""timm's files, to ours and back.

Of a plain ViT the names differ; every other encoder of ours holds timm's own model, so its keys
only lose or gain the prefix ``timm_model.``.
"""

from __future__ import annotations

import difflib
import os
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from saip.checkpoint import (
    STATISTICS,
    CheckpointError,
    Which,
    build_stored_encoder,
    load_encoder,
)
from saip.engine.converters.files import (
    Conversion,
    check_features,
    describe,
    fit,
    read_weights,
    refuse_options,
    write_weights,
)
from saip.engine.converters.vit import OURS, TIMM, Size, StateDict, build_vit, rename_vit
from saip.models.backbones import BaseEncoder, build_encoder
from saip.models.ops.output_stride import keep_stride

PREFIX = 'timm_model.'
VIT = 'vit_tiny_patch16_224'
"""timm's plain ViT; other widths and depths are options of it."""
VIT_OPTIONS = {
    'patch_size': 16,
    'embed_dim': 192,
    'depth': 12,
    'num_heads': 3,
    'mlp_ratio': 4,
}


def saip_to_timm(
    source: str | os.PathLike, target: str | os.PathLike, which: Which = 'student'
) -> Conversion:
    """Write an encoder under timm's names, checked by running timm's model with them.

    Args:
        source: training checkpoint, exported or converted file.
        target: file to write; ``.safetensors`` or any torch suffix.
        which: ``student`` or ``expert``.

    Raises:
        CheckpointError: the source holds no such encoder, or one that timm does not have.
        OSError: a file cannot be read or written.
    """
    encoder, meta = load_encoder(source, which)
    _, name, options, strided = to_timm(encoder, meta['architecture'])
    weights = _theirs(encoder)
    write_weights(target, weights, meta, source)
    given = {**options, 'num_classes': 0, 'checkpoint_path': str(target)}
    call = ', '.join(f'{key}={value!r}' for key, value in given.items())
    lines = [f'timm.create_model({name!r}, {call})']
    if strided:
        # timm has no option for this stride without dilation, which would be another network.
        lines = [
            f'model = {lines[0]}',
            *(f'model.get_submodule({layer!r}).stride = (1, 1)' for layer in strided),
        ]
    return Conversion(str(target), len(weights), notes=tuple(lines))


def to_timm(
    encoder: BaseEncoder, architecture: dict[str, Any]
) -> tuple[Any, str, dict[str, Any], list[str]]:
    """Make timm's model with the weights of an encoder, and check that it gives its features.

    Returns:
        The model in eval mode, its name, the options with which timm makes it, and the layers whose
        stride was changed afterwards, for which timm has no option.

    Raises:
        CheckpointError: timm has no such network.
    """
    name, options = _timm_call(architecture)
    model = _create(name, **options)
    stride = architecture.get('output_stride')
    strided = keep_stride(model, stride, f"timm's {name}") if stride else []
    fit(model, _theirs(encoder), f"timm's {name}")
    check_features(encoder, model.eval(), f"timm's {name}")
    return model, name, options, strided


def timm_to_saip(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: str | None = None,
    img_size: Size | None = None,
) -> Conversion:
    """Write the weights of a timm model as an encoder of ours; the classifier is dropped.

    Args:
        source: state dict in timm's names, bare or below ``state_dict`` or ``model``.
        target: file to write; ``.safetensors`` or any torch suffix.
        model: name of the model in timm, with or without the tag of its weights; None for a file
            that :func:`saip_to_timm` wrote, which says what it is.
        img_size: (height, width) that a ViT's position embeddings belong to, where it is not
            that of the name; None takes the name's, or a known one with that many patches.

    Raises:
        CheckpointError: the weights are not those of the model, or SAIP has no such encoder.
        WeightsError: the size of the position embeddings cannot be told.
        OSError: a file cannot be read or written.
    """
    weights, meta = read_weights(source)
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if 'architecture' in meta:
        refuse_options(model=model, img_size=img_size)
        encoder = build_stored_encoder(meta)
        fit(encoder, _ours(weights, meta['architecture']), 'the encoder that its meta names')
    else:
        encoder, dropped = from_timm(weights, model, img_size)
        statistics, notes = timm_statistics(str(model))
        meta = {'architecture': encoder.architecture(), 'statistics': statistics}
    tensors = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    write_weights(target, tensors, describe(meta, encoder), source)
    return Conversion(str(target), len(tensors), dropped, notes)


def from_timm(
    weights: StateDict, model: str | None, img_size: Size | None
) -> tuple[BaseEncoder, tuple[str, ...]]:
    """Build the encoder of weights in timm's names.

    Returns:
        The encoder with these weights, and the keys of the classifier, which it does not have.

    Raises:
        CheckpointError: see :func:`timm_to_saip`.
        WeightsError: see :func:`timm_to_saip`.
    """
    if model is None:
        raise CheckpointError(
            'nothing in the file says which model of timm this is; name it, as in '
            '--model starnet_s3'
        )
    with torch.device('meta'):
        bare = _create(model)
    prefixes = _classifier_prefixes(bare)
    own = bare.state_dict()
    dropped = tuple(key for key in weights if key not in own and key.startswith(prefixes))
    weights = {key: value for key, value in weights.items() if key not in dropped}
    if not isinstance(bare, VisionTransformer):
        if img_size is not None:
            raise CheckpointError(
                f'--img-size is for plain ViTs; {model} has no such embeddings'
            )
        architecture = {
            'type': 'saip.TimmEncoder',
            'model': model.partition('.')[0],
            'img_size': list(bare.pretrained_cfg['input_size'][1:]),
        }
        encoder = build_encoder(architecture)
        fit(encoder, {f'{PREFIX}{key}': x for key, x in weights.items()}, f"timm's {model}")
        return encoder, dropped
    ours = rename_vit(weights, TIMM)
    block: Any = bare.blocks[0]
    encoder = build_vit(ours, block.attn.num_heads, img_size or _own_size(bare, ours))
    fit(encoder, ours, f'a ViTEncoder like {model}')
    theirs = _create(model, img_size=tuple(encoder.img_size))
    fit(theirs, weights, f"timm's {model}")
    check_features(encoder, theirs.eval(), f"timm's {model}")
    return encoder, dropped


def timm_statistics(model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Mean and standard deviation of pixels that timm states for a model's weights.

    Returns:
        The statistics as exported files have them, and lines about how they differ from SAIP's
        or how far they are known.
    """
    cfg = timm.get_pretrained_cfg(model)
    if cfg is None or not cfg.has_weights:
        return STATISTICS, (f'note: timm states no statistics for {model}; ImageNet taken',)
    name = f'{cfg.architecture}.{cfg.tag}'
    found = {
        'mean': [round(255 * x, 3) for x in cfg.mean],
        'std': [round(255 * x, 3) for x in cfg.std],
        'color_order': 'RGB',
    }
    notes = []
    if '.' not in model:
        notes.append(
            f'note: mean and std are those of {name}; if the weights are others, name them '
            f'(--model {model}.TAG)'
        )
    if found != STATISTICS:
        notes.append(
            f'note: {name} saw pixels normalized with mean {found["mean"]} and std '
            f'{found["std"]}, which the file records; SAIP configurations use those of ImageNet '
            'unless data_preprocessor.mean and .std say otherwise'
        )
    return found, tuple(notes)


def _create(name: str, **options: Any) -> Any:
    """Create a timm model without classifier and with random weights."""
    if not timm.is_model(name):
        near = difflib.get_close_matches(name.partition('.')[0], timm.list_models(), n=3)
        hint = f'; near: {", ".join(near)}' if near else ''
        raise CheckpointError(f'timm {timm.__version__} has no model {name!r}{hint}')
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, **options)
    except RuntimeError as error:  # a tag that timm does not know
        raise CheckpointError(f'timm cannot make {name!r}: {error}') from error


def _classifier_prefixes(model: Any) -> tuple[str, ...]:
    """Beginnings of the keys that belong to the classifier of a timm model.

    timm names its linear layer; a norm of the classifier's own may lie beside that.
    """
    names: Any = model.pretrained_cfg['classifier']
    layers = [names] if isinstance(names, str) else names
    return tuple(f'{layer.rpartition(".")[0] or layer}.' for layer in layers)


def _own_size(model: VisionTransformer, weights: StateDict) -> Size | None:
    """The model's own image size if the weights have as many positions; else None."""
    grid: Any = model.patch_embed.grid_size
    size: Any = model.patch_embed.img_size
    fits = grid[0] * grid[1] == weights['pos_embed'].shape[1] - 1
    return (int(size[0]), int(size[1])) if fits else None


def _timm_call(architecture: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options with which timm makes the network of an architecture."""
    if architecture['type'] == 'saip.TimmEncoder':
        return architecture['model'], {}
    if architecture['type'] != 'saip.ViTEncoder':
        raise CheckpointError(
            f'holds a {architecture["type"]}; timm has the networks of saip.ViTEncoder and '
            'saip.TimmEncoder'
        )
    arch = architecture['arch']
    options = {
        'patch_size': architecture['patch_size'],
        'embed_dim': arch['embed_dims'],
        'depth': arch['num_layers'],
        'num_heads': arch['num_heads'],
        'mlp_ratio': arch['feedforward_channels'] / arch['embed_dims'],
    }
    special = {key: value for key, value in options.items() if VIT_OPTIONS[key] != value}
    return VIT, {'img_size': tuple(architecture['img_size']), **special}


def _theirs(encoder: BaseEncoder) -> StateDict:
    """An encoder's tensors under timm's names."""
    state_dict: StateDict = encoder.state_dict()
    if all(key.startswith(PREFIX) for key in state_dict):
        return {key.removeprefix(PREFIX): x for key, x in state_dict.items()}
    return rename_vit(state_dict, OURS)


def _ours(weights: StateDict, architecture: dict[str, Any]) -> dict[str, Tensor]:
    """Name timm's tensors as those of the encoder that an architecture describes."""
    if architecture['type'] == 'saip.TimmEncoder':
        return {f'{PREFIX}{key}': x for key, x in weights.items()}
    return rename_vit(weights, TIMM)
