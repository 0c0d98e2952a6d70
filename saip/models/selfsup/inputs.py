"""What the objectives of a pretraining read, and whether recipe and encoder provide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder
from saip.models.objectives.base import BaseObjective
from saip.registry import MODELS
from saip.structures import Outputs
from saip.views import Recipe


def take_wanted(objectives: Mapping[str, Any]) -> dict[str, Any]:
    """Configurations of objectives without those that are None.

    Raises:
        InputError: none is left, or a name would make losses of its diagnostics.
    """
    if not isinstance(objectives, Mapping):
        raise InputError(
            f'model.objectives={objectives!r}: a dict of objectives by name is needed'
        )
    wanted = {name: cfg for name, cfg in objectives.items() if cfg is not None}
    if not wanted:
        raise InputError('model.objectives: every objective is None; at least one is needed')
    for name in wanted:
        if 'loss' in name:
            raise InputError(
                f'model.objectives.{name}: a name must not contain "loss", since mmengine adds '
                'up all that is logged under such a name'
            )
    return wanted


def any_reads_last_block(objectives: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an objective trains the student's last block; known before any is built.

    Raises:
        InputError: an objective has no type, or there is no such type.
    """
    return any(cls.reads_last_block for cls in find_objectives(objectives).values())


def check_drops_tokens(
    objectives: Mapping[str, Mapping[str, Any]], backbone: Mapping[str, Any]
) -> None:
    """Compare what objectives need with what the encoder can leave out, before it is built.

    Before, because options of such a method's encoder are unknown to the others, which would
    then be what the user is told.

    Raises:
        InputError: an objective needs hidden patches left out, and the encoder fills them in.
    """
    kind = backbone.get('type')
    encoder = MODELS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(encoder, type) or not issubclass(encoder, BaseEncoder):
        return  # refused where it is built
    for name, cls in find_objectives(objectives).items():
        if cls.needs_dropped_tokens and not encoder.drops_tokens:
            raise InputError(
                f'objective {name!r} ({cls.__name__}) needs hidden patches left out of the '
                f'encoder, but {encoder.__name__} (model.backbone) fills them in, since its maps '
                'have a cell for every patch; take a plain ViT (saip.ViTEncoder), such as '
                'SAIP_BACKBONE=vit-tiny-p16'
            )


def find_objectives(
    objectives: Mapping[str, Mapping[str, Any]],
) -> dict[str, type[BaseObjective]]:
    """Classes of the objectives, by name.

    Raises:
        InputError: an objective has no type, or there is no such type.
    """
    found = {}
    for name, cfg in objectives.items():
        kind = cfg.get('type') if isinstance(cfg, Mapping) else None
        # Registries cannot be asked for an empty name.
        cls = MODELS.get(kind) if isinstance(kind, str) and kind else kind
        if kind and cls is None:
            raise InputError(
                f'model.objectives.{name}: there is no objective type={kind!r}; one of your own '
                'is found once its module is named in custom_imports'
            )
        if not _is_objective(cls):
            raise InputError(
                f'model.objectives.{name}: dict(type=...) with an objective is needed, such as '
                'saip.CrossScaleMatching, or None, which leaves it out; got '
                f'{kind if isinstance(cfg, Mapping) else cfg!r}'
            )
        found[name] = cls
    return found


def _is_objective(cls: Any) -> TypeGuard[type[BaseObjective]]:
    return isinstance(cls, type) and issubclass(cls, BaseObjective)


def check_declared(name: str, objective: BaseObjective) -> None:
    """Compare what an objective's class declares with what it reads.

    Raises:
        TypeError: they differ, so that blocks would be left without a gradient.
    """
    reads = any(
        read.image_token or read.patch_tokens for read in objective.student_inputs().values()
    )
    if reads != objective.reads_last_block:
        raise TypeError(
            f'{type(objective).__name__} (model.objectives.{name}) declares reads_last_block='
            f'{objective.reads_last_block}, but its student_inputs() say {reads}'
        )


def merge_inputs(inputs: Iterable[Mapping[str, Outputs]]) -> dict[str, Outputs]:
    """Unite what several objectives read of one encoder, by view name."""
    merged: dict[str, Outputs] = {}
    for each in inputs:
        for name, read in each.items():
            merged[name] = merged.get(name, Outputs()) | read
    return merged


def required_views(
    objectives: Mapping[str, Any], made: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Entries of the recipe whose views objectives read.

    Args:
        objectives: objectives by name.
        made: names of the views that each entry makes; an entry that makes none is a target, and
            is read by its own name.

    Raises:
        InputError: an objective reads a view that neither the recipe nor an objective makes.
    """
    entry_of = {view: entry for entry, views in made.items() for view in views or (entry,)}
    derived = {view for each in objectives.values() for view in each.derived_views()}
    required: set[str] = set()
    for name, objective in objectives.items():
        # The expert's features are what views are derived from, so it sees none of them.
        read = _views_of(objective) - derived | set(objective.expert_inputs())
        missing = sorted(read.difference(entry_of))
        if missing:
            raise InputError(
                f'objective {name!r} reads the view(s) {", ".join(missing)}, which '
                f'model.data_preprocessor.views does not make; it makes '
                f'{", ".join(sorted(entry_of)) or "none"}'
            )
        required |= {entry_of[view] for view in read}
    return [entry for entry in made if entry in required]


def _views_of(objective: BaseObjective) -> set[str]:
    return {*objective.student_inputs(), *objective.expert_inputs(), *objective.other_views()}


def check_conditions(encoder: BaseEncoder, recipe: Recipe, required: Iterable[str]) -> None:
    """Check that an encoder can be told what its views come with.

    Args:
        encoder: the encoder to be trained.
        recipe: the view recipe.
        required: entries whose views objectives read.

    Raises:
        InputError: views come with a condition, but the encoder has no controller.
    """
    conditioned = [name for name in recipe.required(required) if recipe[name].conditioned]
    if conditioned and not encoder.has_controller:
        raise InputError(
            f'the views {", ".join(conditioned)} come with a condition, but model.backbone has no '
            'controller to be told of it; set model.backbone.controller.condition=0.2, or '
            'condition=None in model.data_preprocessor.views'
        )


def check_trained(objectives: Mapping[str, Any]) -> None:
    """Check that something trains the encoder as a whole.

    Raises:
        InputError: no objective reads image or patch tokens of the student.
    """
    reads = [read for each in objectives.values() for read in each.student_inputs().values()]
    if not any(read.image_token or read.patch_tokens or read.dense for read in reads):
        raise InputError(
            f'the objectives {", ".join(objectives)} read neither image nor patch tokens '
            'of the student; add csm, csr or css'
        )


def check_sizes(encoder: BaseEncoder, anchor: tuple[int, int], patch_size: int) -> None:
    """Compare the sizes that an encoder is made for with those of its views.

    Args:
        encoder: the encoder to be trained.
        anchor: (height, width) of the anchor in pixels.
        patch_size: side in pixels of the patches that masks hide.

    Raises:
        InputError: they differ.
    """
    if tuple(encoder.img_size) != tuple(anchor):
        raise InputError(
            f'model.backbone.img_size={tuple(encoder.img_size)} but the anchor is '
            f'{tuple(anchor)} (model.data_preprocessor.size); leave img_size out'
        )
    if encoder.patch_stride != patch_size:
        raise InputError(
            f'the encoder has patches of {encoder.patch_stride} pixels, the views '
            f'(model.data_preprocessor.patch_size) of {patch_size}'
        )
