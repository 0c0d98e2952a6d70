"""Parameter names of the method's first release, to ours and back.

The tables below are read in both directions, so the two cannot drift apart; see
:mod:`saip.engine.converters.names`.

Dropped, because nothing reads them:

* ``csm_decoder.decoder_norm``: a norm that the release creates and never applies;
* ``csm_decoder.last_layer.weight_g``: gains fixed at 1, which our prototypes do without
  (other values are refused);
* ``csr_decoder.*`` and ``css_decoder.*`` of the teacher: averaged, never run;
* ``optimizer`` and ``args`` of the file.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from saip.checkpoint import CheckpointError, infer_grid
from saip.engine.converters.names import (
    VIT_BLOCK,
    missing_rows,
    numbers,
    rename,
    renaming_rules,
)

Owner = Literal['student', 'teacher']

_BLOCK = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')
_CROSS_BLOCK = (
    *('norm1', 'attn.in_proj_weight', 'attn.in_proj_bias', 'attn.out_proj'),
    *('norm2', 'mlp.fc1', 'mlp.fc2'),
)

ENCODER = {
    'backbone.cls_token': 'backbone.cls_token',
    'backbone.pos_embed': 'backbone.pos_embed',
    'backbone.patch_embed.proj': 'backbone.patch_embed.projection',
    **{f'backbone.blocks.*.{a}': f'backbone.layers.*.{b}' for a, b in VIT_BLOCK.items()},
    'backbone.norm': 'backbone.ln1',
    'backbone.inter_norm': 'dense_norm',
}
PROJECTOR = {
    **{f'csm_decoder.mlp.{i}': f'mlp.{i}' for i in (0, 2, 4)},
    'csm_decoder.last_layer.weight_v': 'prototypes',
}
CSR = {
    'csr_decoder.decoder_embed': 'objectives.csr.neck.embed',
    'csr_decoder.mask_token': 'objectives.csr.neck.mask_token',
    'csr_decoder.decoder_pos_embed': 'objectives.csr.neck.pos_embed',
    **{
        f'csr_decoder.decoder_blocks.*.{x}': f'objectives.csr.neck.blocks.*.{x}' for x in _BLOCK
    },
    'csr_decoder.decoder_norm': 'objectives.csr.neck.norm',
    'csr_decoder.decoder_pred': 'objectives.csr.neck.predict',
}
CSS = {
    'css_decoder.q_decoder_embed': 'objectives.css.neck.query_embed',
    'css_decoder.kv_decoder_embed': 'objectives.css.neck.key_embed',
    'css_decoder.kv_decoder_norm': 'objectives.css.neck.key_norm',
    **{
        f'css_decoder.self_atten_blocks.*.{x}': f'objectives.css.neck.self_blocks.*.{x}'
        for x in _BLOCK
    },
    **{
        f'css_decoder.cross_atten_block.{x}': f'objectives.css.neck.cross_block.{x}'
        for x in _CROSS_BLOCK
    },
    'css_decoder.q_decoder_norm': 'objectives.css.neck.query_norm',
    'css_decoder.kernel_pred': 'objectives.css.neck.kernel',
    **{
        f'css_decoder.mask_head.{i}': f'objectives.css.neck.mask_head.{i}' for i in (0, 2, 4, 6)
    },
}
TABLES: dict[Owner, dict[str, str]] = {
    'student': {
        **ENCODER,
        **{theirs: f'objectives.csm.neck.{ours}' for theirs, ours in PROJECTOR.items()},
        **CSR,
        **CSS,
    },
    'teacher': {
        **{theirs: f'expert.{ours}' for theirs, ours in ENCODER.items()},
        **{theirs: f'expert.csm_projector.{ours}' for theirs, ours in PROJECTOR.items()},
    },
}
DROPPED: dict[Owner, tuple[str, ...]] = {
    'student': ('csm_decoder.decoder_norm.', 'csm_decoder.last_layer.weight_g'),
    'teacher': (
        'csm_decoder.decoder_norm.',
        'csm_decoder.last_layer.weight_g',
        'csr_decoder.',
        'css_decoder.',
    ),
}
CENTER = 'objectives.csm.head.center'
STEPS = 'expert.steps'
OURS_ALONE = {CENTER, STEPS}
GAINS = 'csm_decoder.last_layer.weight_g'
PARTS = {'student', 'teacher', 'csm_loss', 'optimizer', 'epoch', 'args'}


def convert_release(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Rename the weights of a checkpoint of the first release.

    Args:
        checkpoint: ``student`` and ``teacher`` state dicts (keys may begin with ``module.``,
            which data-parallel training adds) and ``csm_loss`` with the ``center``.

    Returns:
        State dict of the algorithm with the preset ``saip-official``; the values are the given
        ones, and the expert's count of updates, which the release does not keep, is 0.

    Raises:
        CheckpointError: a part or a key is unknown or missing, or gains of the last layer are
            not 1.
    """
    unknown = sorted(set(checkpoint) - PARTS)
    if unknown:
        raise CheckpointError(f'unknown parts {unknown}; known are {sorted(PARTS)}')
    state_dict: dict[str, Any] = {}
    for owner in ('student', 'teacher'):
        state_dict |= _convert_part(_part(checkpoint, owner), owner)
    loss = _part(checkpoint, 'csm_loss')
    if set(loss) != {'center'}:
        raise CheckpointError(f"csm_loss holds {sorted(loss)}, expected ['center']")
    return {**state_dict, CENTER: loss['center'], STEPS: torch.zeros((), dtype=torch.long)}


def revert_release(state_dict: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Name values by the first release's names: the inverse of :func:`convert_release`.

    The values may be of any kind, gradients for instance, and keys may be missing. The names that
    :func:`convert_release` drops do not come back; the center and the expert's count of updates
    are no parameters and are left out.

    Returns:
        Values of the student and of the teacher.

    Raises:
        CheckpointError: a key has no name in the release.
    """
    reverted: dict[Owner, dict[str, Any]] = {'student': {}, 'teacher': {}}
    rules = {
        owner: renaming_rules({ours: theirs for theirs, ours in table.items()})
        for owner, table in TABLES.items()
    }
    for key, value in state_dict.items():
        if key in OURS_ALONE:
            continue
        owner: Owner = 'teacher' if key.startswith('expert.') else 'student'
        name = rename(key, rules[owner])
        if name is None:
            raise CheckpointError(f'{key!r} has no counterpart in the release')
        reverted[owner][name] = value
    return reverted['student'], reverted['teacher']


def release_architecture(
    state_dict: dict[str, Any],
    num_heads: int | None = None,
    img_size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Architecture of a converted encoder, read off its tensor shapes.

    Args:
        state_dict: what :func:`convert_release` returned.
        num_heads: attention heads, which no shape shows; None takes width / 64, as in the
            release's models.
        img_size: (height, width) of the anchor; None infers it from the number of patches.

    Raises:
        CheckpointError: the width is no multiple of the heads, or the size does not fit.
        WeightsError: the number of patches fits no or several known sizes.
    """
    width, _, patch_size, _ = state_dict['backbone.patch_embed.projection.weight'].shape
    heads = num_heads or width // 64
    if heads == 0 or width % heads or (num_heads is None and width % 64):
        raise CheckpointError(
            f'width {width} does not tell the number of heads; give it (--num-heads)'
        )
    patches = state_dict['backbone.pos_embed'].shape[1] - 1
    if img_size is None:
        grid = infer_grid(patches, patch_size)
        img_size = (grid[0] * patch_size, grid[1] * patch_size)
    if (img_size[0] // patch_size) * (img_size[1] // patch_size) != patches:
        raise CheckpointError(
            f'{img_size[0]}x{img_size[1]} does not give the {patches} patches of this file'
        )
    return {
        'type': 'saip.ViTEncoder',
        'arch': {
            'embed_dims': width,
            'num_layers': len(numbers('backbone.layers.*.ln1', state_dict)),
            'num_heads': heads,
            'feedforward_channels': len(state_dict['backbone.layers.0.ffn.layers.0.0.bias']),
        },
        'img_size': list(img_size),
        'patch_size': patch_size,
        'feature_level': 6,
        'pos_interp': 'flat1d',
        'grid': [side // patch_size for side in img_size],
    }


def _part(checkpoint: dict[str, Any], name: str) -> dict[str, Any]:
    part = checkpoint.get(name)
    if not isinstance(part, dict):
        raise CheckpointError(f'no {name!r} in it; a checkpoint of the release has one')
    return {key.removeprefix('module.'): value for key, value in part.items()}


def _convert_part(part: dict[str, Any], owner: Owner) -> dict[str, Any]:
    rules = renaming_rules(TABLES[owner])
    converted, unknown = {}, []
    for key, value in part.items():
        if key == GAINS and not torch.equal(value, torch.ones_like(value)):
            raise CheckpointError(f'{owner} {GAINS}: gains other than 1 are not supported')
        name = rename(key, rules)
        if name is not None:
            converted[name] = value
        elif not key.startswith(DROPPED[owner]):
            unknown.append(key)
    if unknown:
        raise CheckpointError(f'{owner}: unknown keys {unknown[:5]} ({len(unknown)} in all)')
    missing = list(missing_rows(TABLES[owner], part))
    if missing:
        raise CheckpointError(f'{owner}: missing keys {missing[:5]} ({len(missing)} in all)')
    return converted
