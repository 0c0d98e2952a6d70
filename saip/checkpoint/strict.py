"""Strict loading of pretrained weights: all of them match, or nothing is loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from mmengine.logging import print_log
from torch import Tensor

from saip.checkpoint.controller import (
    DEFAULT_CONDITION,
    FoldedStage,
    can_fold,
    fold_controller,
    has_controller,
)
from saip.checkpoint.io import load_checkpoint_file, not_finite
from saip.checkpoint.layer_scale import fold_layer_scale, has_layer_scale
from saip.checkpoint.meta import stored_architecture
from saip.checkpoint.relative_position import tables_in
from saip.errors import InputError

Grid = tuple[int, int]

REMEDY = (
    "write init_cfg=dict(type='Pretrained', checkpoint=FILE, prefix='backbone.') with a FILE "
    'made by tools/export_backbone.py, and build the model as that file says'
)
USES = {
    'img_size',
    'grid',
    'feature_level',
    'pos_interp',
    'libraries',
    'controller',
}
"""Entries of an architecture that say how the weights are used: they may differ."""

KNOWN_SIZES = (
    *((256, 128), (256, 192), (384, 128), (384, 192), (384, 288), (128, 64)),
    *((224, 224), (256, 256), (384, 384), (448, 448), (512, 512), (518, 518)),
)
"""Image sizes (h, w) that encoders of people and of ImageNet are trained at."""


class WeightsError(InputError):
    """Pretrained weights do not fit the model that asked for them."""


class Encoder(Protocol):
    """What loading asks of an encoder; see ``saip.models.backbones.BaseEncoder``."""

    stages: Sequence[FoldedStage]

    def architecture(self) -> dict[str, Any]:
        """Plain values that build it again."""

    def resample_pos_embed(
        self, state_dict: dict[str, Tensor], source: Grid
    ) -> dict[str, Tensor]:
        """Position embeddings of another grid moved to its own."""

    def state_dict(self) -> dict[str, Tensor]:
        """All its tensors."""

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool) -> Any:
        """Take over tensors."""


@dataclass(frozen=True)
class LoadReport:
    """What was loaded.

    Attributes:
        checkpoint: the file.
        prefix: of the keys in the file.
        tensors: how many tensors, all those of the model.
        parameters: how many numbers they hold.
        source_grid: patch grid of the position embeddings in the file; None without any.
        target_grid: patch grid of the model; another one means they were resampled.
    """

    checkpoint: str
    prefix: str
    tensors: int
    parameters: int
    source_grid: Grid | None
    target_grid: Grid | None

    def __str__(self) -> str:
        """One line for the log."""
        text = (
            f'loaded all {self.tensors} tensors ({self.parameters / 1e6:.2f} M values) below '
            f'{self.prefix!r} of {self.checkpoint}'
        )
        if self.source_grid is None or self.target_grid is None:
            return text
        if self.source_grid == self.target_grid:
            return text
        source, target = (
            '{}x{}'.format(*grid) for grid in (self.source_grid, self.target_grid)
        )
        return f'{text}; position embeddings resampled from {source} to {target} patches'


def load_pretrained(module: Encoder, init_cfg: dict[str, Any]) -> LoadReport:
    """Load the weights that ``init_cfg`` names into an encoder; every tensor has to match.

    Only position embeddings of another patch grid are adapted, by 2-D bicubic interpolation, and
    what the file has and the encoder has not is folded: a controller into its norms, gains of
    LayerScale into the linear layers before them. Tables of relative position bias that the
    encoder has and the file has not begin at zero. The function stays the same.

    Args:
        module: the encoder, in its final shape.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE, prefix='backbone.')``; of a training
            checkpoint with a controller ``condition`` says λ, by default the one that the
            training evaluated with.

    Raises:
        WeightsError: the prefix is missing or wrong, or keys, shapes or architecture differ.
        CheckpointError: the file cannot be read.
        FileNotFoundError: there is no such file.
    """
    path = init_cfg.get('checkpoint')
    prefix = init_cfg.get('prefix')
    if not path:
        raise WeightsError(f'init_cfg names no checkpoint: {REMEDY}')
    checkpoint = load_checkpoint_file(path)
    stored = checkpoint.get('state_dict', checkpoint)
    state_dict = _below_prefix(stored, prefix, str(path))
    meta = checkpoint.get('meta') or {}
    source = stored_architecture(dict(meta))
    _check_architecture(source, module.architecture(), str(path))  # before norms are looked for
    state_dict = _fold(module, state_dict, source, init_cfg.get('condition'))
    state_dict = _fold_gains(state_dict, module.state_dict(), str(path))
    state_dict, source_grid, target_grid = fit_encoder(module, state_dict, meta, str(path))
    state_dict = _add_tables(state_dict, module.state_dict(), str(path))
    check_tensors(state_dict, module.state_dict(), str(path))
    module.load_state_dict(state_dict, strict=True)
    report = LoadReport(
        checkpoint=str(path),
        prefix=str(prefix),
        tensors=len(state_dict),
        parameters=sum(tensor.numel() for tensor in module.state_dict().values()),
        source_grid=source_grid,
        target_grid=target_grid,
    )
    print_log(str(report), logger='current')
    return report


def _fold(
    module: Encoder,
    state_dict: dict[str, Tensor],
    source: Mapping[str, Any] | None,
    condition: float | None,
) -> dict[str, Tensor]:
    """Fold a controller that the encoder does not have."""
    kept = has_controller(module.state_dict()) or not module.stages
    if kept or not can_fold(state_dict, module.stages):
        return state_dict  # what does not fit is refused by the comparison of keys
    trained_with = (source or {}).get('controller', {})
    chosen = trained_with.get('condition', DEFAULT_CONDITION)
    chosen = chosen if condition is None else condition
    print_log(f'the controller is folded at λ = {chosen}', logger='current')
    return fold_controller(state_dict, module.stages, chosen)


def _fold_gains(
    state_dict: dict[str, Tensor], own: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Fold LayerScale that the encoder does not have."""
    there, here = has_layer_scale(state_dict), has_layer_scale(own)
    if here and not there:
        raise WeightsError(
            f'{path}: has no LayerScale, but the encoder has: take layer_scale=0 (unset '
            'SAIP_LAYER_SCALE), or weights that were trained with it'
        )
    if here or not there:
        return state_dict
    print_log(
        'LayerScale is folded into the layers before it; layer_scale (SAIP_LAYER_SCALE) keeps it',
        logger='current',
    )
    return fold_layer_scale(state_dict)


def _add_tables(
    state_dict: dict[str, Tensor], own: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Add the encoder's own tables of relative position bias, zero, where the file has none."""
    there, here = tables_in(state_dict), tables_in(own)
    if there and not here:
        raise WeightsError(
            f'{path}: has relative position bias ({next(iter(there))}), but the encoder has not: '
            'build it with relative_position=True'
        )
    if there or not here:
        return state_dict
    print_log('relative position bias begins at zero: the file has none', logger='current')
    return {**state_dict, **here}


def fit_encoder(
    module: Encoder, state_dict: dict[str, Tensor], meta: Mapping[str, Any], path: str
) -> tuple[dict[str, Tensor], Grid | None, Grid | None]:
    """Check that tensors are of an encoder's architecture, and move positions to its grid.

    Args:
        module: the encoder.
        state_dict: the tensors by their names in the encoder.
        meta: what the file says of itself.
        path: of the file, for messages.

    Returns:
        The tensors, and the patch grids of the position embeddings in the file and in the model;
        None without any.

    Raises:
        WeightsError: the architecture differs, or the grid cannot be known.
    """
    source = stored_architecture(dict(meta))
    own = module.architecture()
    _check_architecture(source, own, path)
    there, here = (each.get('output_stride') for each in (source or own, own))
    if there != here:
        print_log(
            f'{path}: trained with output_stride={there}, and this encoder has {here}: all weights '
            'fit, but its last map has another number of cells than in the training',
            'current',
            logging.WARNING,
        )
    source_grid = target_grid = None
    if 'pos_embed' in state_dict:
        target_grid = _as_grid(own['grid'])
        source_grid = _source_grid(state_dict['pos_embed'], source, own, path)
        if source_grid != target_grid:
            state_dict = module.resample_pos_embed(state_dict, source_grid)
    return state_dict, source_grid, target_grid


def infer_grid(tokens: int, patch_size: int) -> Grid:
    """Patch grid (h, w) of a number of patches, from the sizes that encoders are trained at.

    Raises:
        WeightsError: no known size has that number of patches, or several grids have.
    """
    grids = {(h // patch_size, w // patch_size) for h, w in KNOWN_SIZES}
    found = sorted(grid for grid in grids if grid[0] * grid[1] == tokens)
    if len(found) == 1:
        return found[0]
    known = ' or '.join(f'{h}x{w}' for h, w in found)
    cause = f'may be {known}' if found else 'are the grid of no known image size'
    raise WeightsError(
        f'{tokens} position embeddings of {patch_size}-pixel patches {cause}, and nothing in '
        'the file says which; export it with tools/export_backbone.py, which records the grid'
    )


def _below_prefix(stored: dict[str, Any], prefix: str | None, path: str) -> dict[str, Tensor]:
    """Tensors below the prefix, by their names without it."""
    if not prefix:
        raise WeightsError(f'{path}: init_cfg has no prefix, so no key would match; {REMEDY}')
    prefix = prefix if prefix.endswith('.') else f'{prefix}.'
    found = {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}
    if not found:
        heads = sorted({f'{key.split(".")[0]}.' for key in stored})
        raise WeightsError(
            f'{path}: no key begins with {prefix!r}; keys there begin with {_some(heads)}; '
            f'{REMEDY}'
        )
    strangers = [key for key, value in found.items() if not torch.is_tensor(value)]
    if strangers:
        raise WeightsError(f'{path}: not tensors below {prefix!r}: {_some(strangers)}')
    return found


def architecture_differences(stored: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """In words, where two architectures build encoders whose weights do not fit each other.

    Args:
        stored: what a file says.
        own: that of the model.
    """
    there, here = _flat(stored), _flat(own)
    return [
        f'{key} is {there[key]} in the file and {here[key]} in the model'
        for key in there
        if key.split('.')[0] not in USES and key in here and there[key] != here[key]
    ]


def _check_architecture(source: dict[str, Any] | None, own: dict[str, Any], path: str) -> None:
    """Compare what no tensor shape shows, such as the number of heads."""
    differing = architecture_differences(source, own) if source is not None else []
    if differing:
        raise WeightsError(
            f'{path}: another architecture: {"; ".join(differing)}. Build the model with the '
            'values of the file'
        )


def check_tensors(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: str,
    optional: Collection[str] = (),
    remedy: str = REMEDY,
) -> None:
    """Check that tensors of a file are those of a model, and finite.

    Args:
        found: of the file.
        wanted: of the model.
        path: of the file, for messages.
        optional: names that may be missing.
        remedy: what to do if keys or shapes differ.

    Raises:
        WeightsError: keys or shapes differ, or values are not finite.
    """
    problems = []
    missing = [key for key in wanted if key not in found and key not in optional]
    unmatched = [key for key in found if key not in wanted]
    shapes = [
        f'{key} {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}'
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    if missing:
        problems.append(f'{len(missing)} tensors of the model are missing: {_some(missing)}')
    if unmatched:
        problems.append(f'{len(unmatched)} keys match nothing: {_some(unmatched)}')
    if shapes:
        problems.append(f'{len(shapes)} shapes differ: {_some(shapes)}')
    if problems:
        raise WeightsError(f'{path}: {"; ".join(problems)}. Nothing was loaded; {remedy}')
    broken = not_finite(dict(found))
    if broken:
        raise WeightsError(
            f'{path}: {len(broken)} tensors hold values that are not finite: {_some(broken)}. '
            'Nothing was loaded; take a checkpoint from before the training went wrong'
        )


def _source_grid(
    pos_embed: Tensor, source: dict[str, Any] | None, own: dict[str, Any], path: str
) -> Grid:
    """Grid of stored position embeddings (1, extra + L, D), checked against their number."""
    patches = pos_embed.shape[1] - 1  # the first belongs to the image token
    if source is None:
        return infer_grid(patches, own['patch_size'])
    grid = _as_grid(source['grid'])
    if patches != grid[0] * grid[1]:
        raise WeightsError(
            f'{path}: {patches} position embeddings do not fill the grid {grid[0]}x{grid[1]} '
            'that the file names'
        )
    return grid


def _as_grid(value: Iterable[int]) -> Grid:
    height, width = (int(side) for side in value)
    return height, width


def _flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys; tuples as lists, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{key}.')
        else:
            # A synchronized BatchNorm has the same tensors and, with them, the same function.
            value = 'BN' if value == 'SyncBN' else value
            flat[f'{prefix}{key}'] = list(value) if isinstance(value, tuple) else value
    return flat


def _some(names: list[str], most: int = 5) -> str:
    listed = ', '.join(names[:most])
    rest = len(names) - most
    return f'{listed} and {rest} more' if rest > 0 else listed
