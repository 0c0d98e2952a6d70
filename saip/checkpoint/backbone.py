"""From a checkpoint to an encoder, and from a training checkpoint to a backbone file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from saip.checkpoint.controller import check_lambda, fold_controller, without_controller
from saip.checkpoint.io import (
    CheckpointError,
    file_sha256,
    load_checkpoint_file,
    not_finite,
    tensors_sha256,
    write_checkpoint,
)
from saip.checkpoint.meta import (
    build_stored_encoder,
    describe_encoder,
    frozen_expert_file,
    stored_preset,
)
from saip.errors import InputError
from saip.registry import MODELS
from saip.version import __version__

Which = Literal['student', 'expert']
Format = Literal['pth', 'safetensors']

PREFIXES = {'student': 'backbone.', 'expert': 'expert.backbone.'}


def load_encoder(
    path: str | os.PathLike, which: Which = 'student', condition: float | None = None
) -> tuple[Any, dict[str, Any]]:
    """Load an encoder from a training checkpoint, a converted one or an exported file.

    Args:
        path: the file.
        which: the trained encoder or its averaged expert. An exported file holds one of them.
        condition: see :func:`encoder_of`.

    Returns:
        The encoder, a ``saip.models.backbones.BaseEncoder`` in eval mode on the CPU, and what
        :func:`encoder_of` says about it.

    Raises:
        CheckpointError: the file cannot be read or holds no such encoder.
        FileNotFoundError: there is no such file.
    """
    checkpoint = load_checkpoint_file(path)
    try:
        return encoder_of(checkpoint, which, condition)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def load_any_encoder(
    path: str | os.PathLike, which: Which | None = None, condition: float | None = None
) -> Any:
    """Load the one encoder of an exported file, or one of a training checkpoint.

    Args:
        path: the file.
        which: see :func:`load_encoder`; None takes what an exported file holds, and the student of
            a training checkpoint.
        condition: see :func:`encoder_of`.

    Returns:
        A ``saip.models.backbones.BaseEncoder`` in eval mode on the CPU.

    Raises:
        CheckpointError: the file cannot be read or holds no such encoder.
        FileNotFoundError: there is no such file.
    """
    checkpoint = load_checkpoint_file(path)
    stored: Which = (checkpoint.get('meta') or {}).get('which', 'student')
    try:
        return encoder_of(checkpoint, which or stored, condition)[0]
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def encoder_of(
    checkpoint: dict[str, Any], which: Which, condition: float | None = None
) -> tuple[Any, dict[str, Any]]:
    """Build the encoder of a loaded checkpoint and give it its weights, all of them.

    An encoder that was trained with a controller is returned without it: λ is fixed, and its
    effect folded into the norms. Where no norm can absorb it (Swin), the controller stays and
    has λ as its default.

    Args:
        checkpoint: as :func:`load_checkpoint_file` gives it.
        which: the trained encoder or its averaged expert.
        condition: λ from 0 to 1; None takes the one that the training evaluated with.

    Returns:
        The encoder in eval mode, and plain values about it: ``architecture``, ``statistics``,
        ``preset``, ``objectives``, ``data``, ``feature``, ``epoch``, ``iteration``, ``which``, and
        ``condition`` where λ was fixed.

    Raises:
        CheckpointError: the checkpoint says nothing about its encoder, or the tensors differ.
    """
    if which not in PREFIXES:
        raise CheckpointError(f"which={which!r}: choose 'student' or 'expert'")
    meta = checkpoint.get('meta') or {}
    stored_as = meta.get('which')
    if stored_as not in (None, which):
        raise CheckpointError(f'this exported file holds the {stored_as}, not the {which}')
    frozen = frozen_expert_file(meta) if which == 'expert' else None
    if frozen is not None:
        raise CheckpointError(
            f'the expert of this run was frozen, so it is in no checkpoint and there is nothing '
            f'to export: it is still what {frozen} holds'
        )
    prefix = 'backbone.' if stored_as else PREFIXES[which]
    state_dict = {
        key[len(prefix) :]: value
        for key, value in checkpoint.get('state_dict', {}).items()
        if key.startswith(prefix)
    }
    if not state_dict:
        raise CheckpointError(_absence(meta, which, prefix))
    encoder, state_dict, folded = _without_controller(meta, state_dict, condition)
    try:
        encoder.load_state_dict(state_dict, strict=True)
    except RuntimeError as error:
        detail = ' '.join(str(error).split())[:300]
        raise CheckpointError(f'its weights are not those of its encoder: {detail}') from error
    return encoder.eval(), {'which': which, **describe_encoder(meta, encoder), **folded}


def _absence(meta: dict[str, Any], which: Which, prefix: str) -> str:
    """Say that there is no such encoder, and where a training has none by its method."""
    text = f'holds no {which}: no key begins with {prefix!r}'
    if which == 'student':
        return text
    preset = stored_preset(meta)
    named = '' if preset is None else f' ({preset})'
    return (
        f'{text}, so its training{named} has no expert; --which student takes the encoder that '
        'it trained'
    )


def _without_controller(
    meta: dict[str, Any], state_dict: dict[str, Tensor], condition: float | None
) -> tuple[Any, dict[str, Tensor], dict[str, Any]]:
    """Build the stored encoder, stock if that can be; its tensors; what to say of a controller.

    Raises:
        CheckpointError: there is no controller to be told λ, an exported file has fixed λ, or it
            is not from 0 to 1.
    """
    if condition is not None:
        try:
            check_lambda('condition (--condition)', condition)
        except InputError as error:
            raise CheckpointError(str(error)) from error
    encoder = build_stored_encoder(meta)
    if encoder.has_controller:
        chosen = encoder.controller.condition if condition is None else condition
        if encoder.controller.foldable:
            state_dict = fold_controller(state_dict, encoder.stages, chosen)
            encoder = MODELS.build(without_controller(encoder.architecture()))
        else:
            encoder.controller.condition = check_lambda('condition', chosen)
        return encoder, state_dict, {'condition': chosen}
    fixed = meta.get('condition')
    if condition is not None and condition != fixed:
        raise CheckpointError(
            f'condition={condition} (--condition): this encoder was trained without a '
            'controller; leave it out'
            if fixed is None
            else f'condition={condition} (--condition): this file was exported at {fixed}, for '
            'good; export the training checkpoint again'
        )
    return encoder, state_dict, {} if fixed is None else {'condition': fixed}


def export_backbone(
    checkpoint: dict[str, Any],
    out_dir: str | os.PathLike,
    which: Which = 'student',
    name: str = 'backbone',
    source: str | os.PathLike | None = None,
    formats: Sequence[Format] = ('pth', 'safetensors'),
    condition: float | None = None,
) -> Path:
    """Write the bare encoder of a checkpoint, ``{'state_dict': {'backbone.*'}, 'meta': ...}``.

    The same checkpoint gives the same bytes. Both formats hold the same tensors and meta.

    Args:
        checkpoint: as :func:`load_checkpoint_file` or mmengine's Runner gives it.
        out_dir: folder, made if it does not exist.
        which: the trained encoder or its averaged expert.
        name: first part of the file name; eight digits of the tensors' SHA-256 follow.
        source: the checkpoint's file, which messages name and whose SHA-256 goes into the meta.
        formats: what to write.
        condition: λ that is folded into a backbone trained with a controller, see
            :func:`encoder_of`; it goes into the meta.

    Returns:
        The first file written.

    Raises:
        CheckpointError: the checkpoint holds no such encoder, or weights that are not finite.
    """
    named = '' if source is None else f'{source}: '
    try:
        encoder, meta = encoder_of(checkpoint, which, condition)
    except CheckpointError as error:
        raise CheckpointError(f'{named}{error}') from error
    broken = not_finite(encoder.state_dict())
    if broken:
        raise CheckpointError(
            f'{named}{len(broken)} tensors of the {which} hold values that are not finite, such as '
            f'{broken[0]}; export a checkpoint from before the training went wrong'
        )
    tensors = {
        f'backbone.{key}': value.detach().cpu().clone().contiguous()
        for key, value in encoder.state_dict().items()
    }
    digest = tensors_sha256(tensors)
    meta |= {
        'tensors_sha256': digest,
        'source_sha256': file_sha256(source) if source is not None else None,
        'saip_version': __version__,
    }
    paths = [Path(out_dir) / f'{name}-{digest[:8]}.{kind}' for kind in formats]
    for path in paths:
        write_checkpoint(path, tensors, meta)
    return paths[0]


def config_snippet(path: str | os.PathLike, meta: dict[str, Any], num_classes: int = 10) -> str:
    """Configuration text of an mmpretrain classifier that starts from an exported backbone."""
    # Positions of other sizes are best interpolated on the grid, however pretraining did it.
    left_out = ('grid', 'pos_interp')
    encoder = {k: v for k, v in meta['architecture'].items() if k not in left_out}
    mean, std = (meta['statistics'][key] for key in ('mean', 'std'))
    lines = [
        "    type='ImageClassifier',",
        '    data_preprocessor=dict(',
        f'        num_classes={num_classes}, mean={mean}, std={std}, to_rgb=True),',
        '    backbone=dict(',
        *(f'        {key}={value!r},' for key, value in encoder.items()),
        "        out_type='image_token',",
        '        init_cfg=dict(',
        f"            type='Pretrained', checkpoint={str(path)!r}, prefix='backbone.')),",
        f"    head=dict(type='LinearClsHead', num_classes={num_classes}, "
        f'in_channels={meta["embed_dims"]}))',
    ]
    return '\n'.join(['model = dict(', *lines])
