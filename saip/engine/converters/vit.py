"""What plain ViTs of other libraries have in common with :class:`saip.models.ViTEncoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from saip.checkpoint import CheckpointError, infer_grid
from saip.engine.converters.names import VIT_BLOCK, missing_rows, rename, renaming_rules
from saip.models.backbones import BaseEncoder, build_encoder

Size = tuple[int, int]
StateDict = dict[str, Tensor]

TIMM = {
    'cls_token': 'cls_token',
    'pos_embed': 'pos_embed',
    'patch_embed.proj': 'patch_embed.projection',
    **{f'blocks.*.{theirs}': f'layers.*.{ours}' for theirs, ours in VIT_BLOCK.items()},
    'norm': 'ln1',
}
"""timm's names, and ours."""
OURS = {ours: theirs for theirs, ours in TIMM.items()}

TWO_TOKENS = (
    'a distilled DeiT: it has a distillation token beside the image token, and SAIP encoders have '
    'one token; take the weights of the model without distillation'
)


def rename_vit(state_dict: StateDict, table: Mapping[str, str]) -> StateDict:
    """Rename all keys of a plain ViT.

    Args:
        state_dict: its tensors, without a classifier.
        table: ``TIMM``, ``OURS``, or a table of names that stay.

    Raises:
        CheckpointError: it has a distillation token, or keys are unknown or missing.
    """
    if 'dist_token' in state_dict:
        raise CheckpointError(TWO_TOKENS)
    rules = renaming_rules(table)
    names = {key: rename(key, rules) for key in state_dict}
    unknown = [key for key, name in names.items() if name is None]
    missing = list(missing_rows(table, state_dict))
    for what, keys in (('unknown', unknown), ('missing', missing)):
        if keys:
            raise CheckpointError(
                f'not the weights of a plain ViT: {what} keys {", ".join(keys[:5])} '
                f'({len(keys)} in all)'
            )
    return {str(names[key]): value for key, value in state_dict.items()}


def vit_arch(state_dict: StateDict) -> dict[str, int]:
    """Width, depth and hidden width, read off our names; heads are in no shape."""
    layers = {key.split('.')[1] for key in state_dict if key.startswith('layers.')}
    return {
        'embed_dims': state_dict['cls_token'].shape[-1],
        'num_layers': len(layers),
        'feedforward_channels': len(state_dict['layers.0.ffn.layers.0.0.bias']),
    }


def build_vit(state_dict: StateDict, num_heads: int, img_size: Size | None) -> BaseEncoder:
    """Build the encoder of plain ViT weights under our names.

    Args:
        state_dict: the weights.
        num_heads: heads per block.
        img_size: (height, width) of the images whose patches have the position embeddings;
            None infers it from their number.

    Raises:
        CheckpointError: the size does not fit.
        WeightsError: the number of position embeddings fits no or several known sizes.
    """
    patch = state_dict['patch_embed.projection.weight'].shape[-1]
    patches = state_dict['pos_embed'].shape[1] - 1
    if img_size is None:
        rows, columns = infer_grid(patches, patch)
        img_size = (rows * patch, columns * patch)
    if (img_size[0] // patch) * (img_size[1] // patch) != patches:
        raise CheckpointError(
            f'images of {img_size[0]}x{img_size[1]} do not have the {patches} patches of '
            f'{patch} pixels of this file'
        )
    architecture: dict[str, Any] = {
        'type': 'saip.ViTEncoder',
        'arch': {**vit_arch(state_dict), 'num_heads': num_heads},
        'img_size': list(img_size),
        'patch_size': patch,
        'feature_level': None,
        'pos_interp': 'grid2d',
    }
    return build_encoder(architecture)
