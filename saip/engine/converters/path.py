"""Parameter names of PATH's released encoders (HumanBench), to ours.

The file holds ``{'model': {...}}`` in timm's names. Its position table belongs to the patches of a
square image; a release made from a task with a class token has one more row in front, for
that token.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import Tensor

from saip.checkpoint import CheckpointError
from saip.engine.converters.names import (
    VIT_BLOCK,
    missing_rows,
    numbers,
    rename,
    renaming_rules,
)
from saip.engine.converters.release import release_architecture

TABLE = {
    'cls_token': 'backbone.cls_token',
    'pos_embed': 'backbone.pos_embed',
    'patch_embed.proj': 'backbone.patch_embed.projection',
    **{f'blocks.*.{a}': f'backbone.layers.*.{b}' for a, b in VIT_BLOCK.items()},
    'norm': 'backbone.ln1',
}


def convert_path(checkpoint: dict[str, Any], blocks: int | None = None) -> dict[str, Tensor]:
    """Rename the weights of a released encoder.

    Without a row for the class token, its position is zero: the token then stems from MAE, where
    it had none.

    Args:
        checkpoint: the file's content.
        blocks: keep only the first so many blocks, followed by a norm without parameters (gains
            1, offsets 0). PATH trains no part of its last block and final norm, so one fewer
            than all ends where its training does. None keeps everything.

    Returns:
        State dict of ``saip.ViTEncoder`` below ``backbone.``.

    Raises:
        CheckpointError: the layout is another, keys are unknown or missing, or there are not more
            than ``blocks`` blocks.
    """
    model = checkpoint.get('model')
    if not isinstance(model, dict):
        raise CheckpointError(
            "no 'model' in it; PATH's released encoders have one, its training checkpoints "
            '(backbone_module.*) do not'
        )
    rules = renaming_rules(TABLE)
    names = {key: rename(key, rules) for key in model}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        raise CheckpointError(f'unknown keys {unknown[:5]} ({len(unknown)} in all)')
    missing = list(missing_rows(TABLE, model))
    if missing:
        raise CheckpointError(f'missing keys {missing[:5]} ({len(missing)} in all)')
    state_dict = {str(names[key]): value for key, value in model.items()}
    if not has_class_position(checkpoint):
        table = state_dict['backbone.pos_embed']
        state_dict['backbone.pos_embed'] = torch.cat(
            [torch.zeros_like(table[:, :1]), table], dim=1
        )
    return state_dict if blocks is None else _shorten(state_dict, blocks)


def has_class_position(checkpoint: dict[str, Any]) -> bool:
    """Whether the position table has a row for the class token besides a square of patches.

    Raises:
        CheckpointError: the number of rows is neither a square nor one more.
    """
    shape = tuple(checkpoint['model']['pos_embed'].shape)
    if len(shape) == 3 and shape[1] == isqrt(shape[1]) ** 2:
        return False
    if len(shape) == 3 and shape[1] - 1 == isqrt(shape[1] - 1) ** 2:
        return True
    raise CheckpointError(
        f'pos_embed {shape} is no table of a square of patches, with or without a class token'
    )


def path_architecture(
    state_dict: dict[str, Tensor], num_heads: int | None = None
) -> dict[str, Any]:
    """Architecture of a converted encoder, read off its tensor shapes.

    Args:
        state_dict: what :func:`convert_path` returned.
        num_heads: attention heads, which no shape shows; None takes width / 64, as in PATH's
            ViT-B and ViT-L.

    Raises:
        CheckpointError: the width is no multiple of the heads.
    """
    patch_size = state_dict['backbone.patch_embed.projection.weight'].shape[-1]
    side = patch_size * isqrt(state_dict['backbone.pos_embed'].shape[1] - 1)
    architecture = release_architecture(state_dict, num_heads, (side, side))
    return {**architecture, 'feature_level': None, 'pos_interp': 'grid2d'}


def _shorten(state_dict: dict[str, Tensor], blocks: int) -> dict[str, Tensor]:
    total = len(numbers('backbone.layers.*.ln1', state_dict))
    if not 0 < blocks < total:
        raise CheckpointError(f'{blocks} of {total} blocks: choose from 1 to {total - 1}')
    later = tuple(f'backbone.layers.{i}.' for i in range(blocks, total))
    kept = {key: value for key, value in state_dict.items() if not key.startswith(later)}
    for name, value in (('weight', 1.0), ('bias', 0.0)):
        key = f'backbone.ln1.{name}'
        kept[key] = torch.full_like(kept[key], value)
    return kept
