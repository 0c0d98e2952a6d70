"""What the objectives of a pretraining read, and whether recipe and encoder provide it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from saip.models.backbones.base import BaseEncoder
from saip.models.objectives.base import MULTIRES, BaseObjective
from saip.structures import Need


def take_wanted(objectives: Mapping[str, Any]) -> dict[str, Any]:
    """Configurations of objectives without those that are None.

    Raises:
        ValueError: none is left, or a name would make losses of its diagnostics.
    """
    wanted = {name: cfg for name, cfg in objectives.items() if cfg is not None}
    if not wanted:
        raise ValueError('model.objectives: every objective is None; at least one is needed')
    for name in wanted:
        if 'loss' in name:
            raise ValueError(
                f'model.objectives.{name}: a name must not contain "loss", since mmengine adds '
                'up all that is logged under such a name'
            )
    return wanted


def merge_needs(needs: Iterable[Mapping[str, Need]]) -> dict[str, Need]:
    """Unite what several objectives read of one encoder, by view name."""
    merged: dict[str, Need] = {}
    for each in needs:
        for name, need in each.items():
            merged[name] = merged.get(name, Need()) | need
    return merged


def required_views(objectives: Mapping[str, Any], made: Collection[str]) -> set[str]:
    """Views that objectives read, ``multires`` for all of its kind.

    Args:
        objectives: objectives by name.
        made: views that the recipe makes.

    Raises:
        ValueError: an objective reads a view that the recipe does not make.
    """
    required: set[str] = set()
    for name, objective in objectives.items():
        read = _views_of(objective)
        missing = sorted(read.difference(made))
        if missing:
            raise ValueError(
                f'objective {name!r} reads the view(s) {", ".join(missing)}, which '
                f'model.data_preprocessor does not make; it makes {", ".join(sorted(made))}'
            )
        required |= read
    return required


def _views_of(objective: BaseObjective) -> set[str]:
    read = {*objective.student_needs(), *objective.expert_needs(), *objective.other_views()}
    return {MULTIRES if view.startswith(f'{MULTIRES}_') else view for view in read}


def student_lacks_image_tokens(objectives: Mapping[str, Any]) -> bool:
    """Whether objectives read the student's pixel features only, and no image token.

    Raises:
        ValueError: they read neither, so that nothing would train the encoder as a whole.
    """
    needs = [need for each in objectives.values() for need in each.student_needs().values()]
    if any(need.image for need in needs):
        return False
    if not any(need.pixel for need in needs):
        raise ValueError(
            f'the objectives {", ".join(objectives)} read neither image nor patch tokens '
            'of the student; add csm, csr or css'
        )
    return True


def check_sizes(encoder: BaseEncoder, anchor: tuple[int, int], patch_size: int) -> None:
    """Compare the sizes that an encoder is made for with those of its views.

    Args:
        encoder: the encoder to be trained.
        anchor: (height, width) of the anchor in pixels.
        patch_size: side in pixels of the patches that masks hide.

    Raises:
        ValueError: they differ.
    """
    if tuple(encoder.img_size) != tuple(anchor):
        raise ValueError(
            f'model.backbone.img_size={tuple(encoder.img_size)} but the anchor is '
            f'{tuple(anchor)} (model.data_preprocessor.size); leave img_size out'
        )
    if encoder.patch_stride != patch_size:
        raise ValueError(
            f'the encoder has patches of {encoder.patch_stride} pixels, the views '
            f'(model.data_preprocessor.patch_size) of {patch_size}'
        )
