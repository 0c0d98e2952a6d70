"""mmpretrain's files, to ours and back.

Two of its backbones have encoders of ours as twins: ``VisionTransformer``, whose names
``saip.ViTEncoder`` keeps, and ``TIMMBackbone``, whose names ``saip.TimmEncoder`` keeps. Its own
TinyViT, EdgeNeXt and ResNet are other module trees, with other names and partly other layers.
"""

from __future__ import annotations

import os
from typing import Any

from mmpretrain.models.backbones import VisionTransformer

from saip.checkpoint import (
    STATISTICS,
    CheckpointError,
    Which,
    build_stored_encoder,
    load_encoder,
)
from saip.engine.converters.files import (
    Conversion,
    describe,
    fit,
    read_weights,
    refuse_options,
    write_weights,
)
from saip.engine.converters.timm import PREFIX, from_timm, timm_statistics
from saip.engine.converters.vit import OURS, Size, StateDict, build_vit, rename_vit, vit_arch
from saip.models.backbones import BaseEncoder

BACKBONE = 'backbone.'
HEAD = 'head.'
SAME = {name: name for name in OURS}
"""A plain ViT's names, which stay."""


def saip_to_mmpretrain(
    source: str | os.PathLike, target: str | os.PathLike, which: Which = 'student'
) -> Conversion:
    """Write an encoder for mmpretrain's own class, with the configuration that loads it.

    Args:
        source: training checkpoint, exported or converted file.
        target: file to write; ``.safetensors`` or any torch suffix.
        which: ``student`` or ``expert``.

    Raises:
        CheckpointError: the source holds no such encoder, or one that mmpretrain does not have.
        OSError: a file cannot be read or written.
    """
    encoder, meta = load_encoder(source, which)
    backbone = _stock_config(meta['architecture'])
    tensors = {f'{BACKBONE}{key}': value for key, value in encoder.state_dict().items()}
    write_weights(target, tensors, meta, source)
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(target), 'prefix': BACKBONE}
    given = {**backbone, 'init_cfg': init_cfg}
    lines = [f'    {key}={value!r},' for key, value in given.items()]
    return Conversion(str(target), len(tensors), notes=('backbone = dict(', *lines, ')'))


def mmpretrain_to_saip(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: str | None = None,
    num_heads: int | None = None,
    img_size: Size | None = None,
) -> Conversion:
    """Write the backbone of an mmpretrain file as an encoder of ours; the head is dropped.

    Args:
        source: checkpoint with a ``VisionTransformer`` or a ``TIMMBackbone``.
        target: file to write; ``.safetensors`` or any torch suffix.
        model: of a ``TIMMBackbone``: name of the model in timm.
        num_heads: of a ``VisionTransformer``: heads per block, which no shape shows; None takes
            those of mmpretrain's ViT of this width and depth.
        img_size: (height, width) that a ViT's position embeddings belong to; None takes a known
            one with that many patches.

    Raises:
        CheckpointError: it is no such file, or the heads cannot be told.
        WeightsError: the size of the position embeddings cannot be told.
        OSError: a file cannot be read or written.
    """
    weights, meta = read_weights(source)
    weights, dropped = _take_backbone(weights)
    notes: tuple[str, ...] = ()
    if 'architecture' in meta:
        refuse_options(model=model, num_heads=num_heads, img_size=img_size)
        encoder = build_stored_encoder(meta)
        fit(encoder, weights, 'the encoder that its meta names')
    else:
        encoder, statistics, notes = _build(weights, model, num_heads, img_size)
        meta = {'architecture': encoder.architecture(), 'statistics': statistics}
    tensors = {f'{BACKBONE}{key}': value for key, value in encoder.state_dict().items()}
    write_weights(target, tensors, describe(meta, encoder), source)
    return Conversion(str(target), len(tensors), dropped, notes)


def _take_backbone(weights: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Separate a backbone from the head of its classifier.

    Returns:
        The backbone's tensors without their prefix, and the keys of the head.
    """
    if not any(key.startswith(BACKBONE) for key in weights):
        return weights, ()
    dropped = tuple(key for key in weights if key.startswith(HEAD))
    strangers = [key for key in weights if not key.startswith((BACKBONE, HEAD))]
    if strangers:
        raise CheckpointError(
            f'keys beside {BACKBONE} and {HEAD}: {", ".join(strangers[:5])} ({len(strangers)} in '
            'all); only classifiers and bare backbones are supported. For CSPNeXt take '
            'openmmlab_to_saip.py'
        )
    backbone = {
        key.removeprefix(BACKBONE): x for key, x in weights.items() if key not in dropped
    }
    return backbone, dropped


def _build(
    weights: StateDict, model: str | None, num_heads: int | None, img_size: Size | None
) -> tuple[BaseEncoder, dict[str, Any], tuple[str, ...]]:
    """Build the encoder of a backbone's weights; also its statistics, and lines about them."""
    if all(key.startswith(PREFIX) for key in weights):
        if num_heads is not None:
            raise CheckpointError(
                '--num-heads is for files with a VisionTransformer; of a TIMMBackbone the name in '
                'timm (--model) tells them, so leave it out'
            )
        plain = {key.removeprefix(PREFIX): x for key, x in weights.items()}
        encoder, extra = from_timm(plain, model, img_size)
        if extra:
            raise CheckpointError(
                f"a TIMMBackbone has no classifier, but the file holds {model}'s: "
                f'{", ".join(f"{PREFIX}{key}" for key in extra)}; if these are weights of timm, '
                'take timm_to_saip.py'
            )
        return encoder, *timm_statistics(str(model))
    if 'patch_embed.projection.weight' not in weights:
        raise CheckpointError(
            f'a backbone with keys such as {", ".join(list(weights)[:3])} is not supported; '
            'supported are VisionTransformer and TIMMBackbone. For TinyViT, EdgeNeXt or ResNet '
            "take timm's file and timm_to_saip.py, for CSPNeXt openmmlab_to_saip.py"
        )
    if model is not None:
        raise CheckpointError('--model is for files with a TIMMBackbone; leave it out')
    weights = rename_vit(weights, SAME)
    encoder = build_vit(weights, num_heads or _heads(weights), img_size)
    fit(encoder, weights, "mmpretrain's VisionTransformer")
    note = (
        'note: the file does not say how its pixels were normalized; the statistics of ImageNet '
        'are recorded'
    )
    return encoder, STATISTICS, (note,)


def _heads(weights: StateDict) -> int:
    """Heads of mmpretrain's ViTs of this width, depth and hidden width."""
    arch = vit_arch(weights)
    found = {
        zoo['num_heads']
        for zoo in VisionTransformer.arch_zoo.values()
        if all(zoo[key] == value for key, value in arch.items())
    }
    if len(found) != 1:
        raise CheckpointError(
            f'mmpretrain has no ViT of width {arch["embed_dims"]}, {arch["num_layers"]} blocks and '
            f'hidden width {arch["feedforward_channels"]}, and no shape shows the heads; give '
            'them (--num-heads)'
        )
    return found.pop()


def _stock_config(architecture: dict[str, Any]) -> dict[str, Any]:
    """Configuration of mmpretrain's own class for an architecture of ours."""
    if architecture['type'] == 'saip.ViTEncoder':
        if architecture.get('relative_position'):
            raise CheckpointError(
                "holds a ViT with relative position bias, which mmpretrain's VisionTransformer has "
                "not; load the exported file with type='saip.ViTEncoder' and relative_position=True"
            )
        gain = architecture.get('layer_scale')
        return {
            'type': 'mmpretrain.VisionTransformer',
            'arch': dict(architecture['arch']),
            'img_size': tuple(architecture['img_size']),
            'patch_size': architecture['patch_size'],
            **({'layer_scale_init_value': gain} if gain else {}),
        }
    if architecture['type'] == 'saip.TimmEncoder':
        if architecture.get('output_stride'):
            raise CheckpointError(
                f'holds a {architecture["model"]} with output_stride='
                f'{architecture["output_stride"]}, which TIMMBackbone has no option for; load the '
                "exported file with type='saip.TimmEncoder' and this option instead"
            )
        return {'type': 'mmpretrain.TIMMBackbone', 'model_name': architecture['model']}
    raise CheckpointError(
        f'holds a {architecture["type"]}; mmpretrain has the networks of saip.ViTEncoder and '
        'saip.TimmEncoder'
    )
