"""The refusal of recipes that cannot work, before anything is made by them."""

from __future__ import annotations

from typing import Any

from saip.datasets.views.masking import kept_patches
from saip.datasets.views.recipe import CropRecipe, LocalsRecipe, Recipe, SceneRecipe
from saip.datasets.views.sizes import (
    local_size,
    masked_eighths,
    masked_grids,
    multires_sizes,
    paste_scale,
    size_text,
)

MAX_HUE = 0.5
"""Half of the colour circle, in both directions: all of it."""


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that cannot work.

    Raises:
        ValueError: with the reason.
    """
    _check_count('patch_size', recipe.patch_size)
    _check_size('size', recipe.size, recipe.patch_size)
    _check_share('gray', recipe.gray)
    _check_share('flip', recipe.flip)
    _check_jitter(recipe)
    crops: dict[str, CropRecipe | LocalsRecipe | SceneRecipe | None] = {
        'anchor': recipe.anchor,
        'augmented': recipe.augmented,
        'locals': recipe.locals,
        'scene': recipe.scene,
    }
    for name, crop in crops.items():
        if crop is not None:
            _check_crop(name, crop)
    _check_locals(recipe)
    _check_multires(recipe)
    _check_masked(recipe)
    _check_scene(recipe)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_count(where: str, value: Any) -> None:
    if not _is_count(value):
        raise ValueError(f'view recipe, {where}: a whole number from 1 on, not {value!r}')


def _check_share(where: str, value: Any) -> None:
    if not _is_number(value) or not 0 <= value <= 1:
        raise ValueError(f'view recipe, {where}: a number from 0 to 1, not {value!r}')


def _check_range(where: str, value: Any, most: float) -> None:
    pair = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
    if not pair or not 0 < value[0] <= value[1] <= most:
        limit = '' if most == float('inf') else f' and at most {most:g}'
        raise ValueError(
            f'view recipe, {where}: (smallest, largest), both above 0{limit}, not {value!r}'
        )


def _check_size(where: str, value: Any, patch: int) -> None:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_count, value)):
        raise ValueError(f'view recipe, {where}: (height, width) in pixels, not {value!r}')
    if value[0] % patch or value[1] % patch:
        raise ValueError(
            f'view recipe, {where}: {size_text(value)} is not a multiple of patch size {patch}'
        )


def _check_eighths(where: str, value: Any) -> None:
    if not isinstance(value, tuple) or not value or not all(map(_is_count, value)):
        raise ValueError(f'view recipe, {where}: whole numbers from 1 on, not {value!r}')


def _check_crop(name: str, crop: CropRecipe | LocalsRecipe | SceneRecipe) -> None:
    _check_range(f'{name}.area', crop.area, 1)
    if crop.aspect is not None:
        _check_range(f'{name}.aspect', crop.aspect, float('inf'))
    _check_share(f'{name}.blur', crop.blur)
    _check_share(f'{name}.solarize', crop.solarize)


def _check_jitter(recipe: Recipe) -> None:
    jitter = recipe.jitter
    _check_share('jitter.probability', jitter.probability)
    strengths = {
        'brightness': jitter.brightness,
        'contrast': jitter.contrast,
        'saturation': jitter.saturation,
    }
    for name, strength in strengths.items():
        if not _is_number(strength) or strength < 0:
            raise ValueError(
                f'view recipe, jitter.{name}: a number from 0 on, not {strength!r}'
            )
    if not _is_number(jitter.hue) or not 0 <= jitter.hue <= MAX_HUE:
        raise ValueError(
            f'view recipe, jitter.hue: a number from 0 to {MAX_HUE}, not {jitter.hue!r}'
        )


def _check_locals(recipe: Recipe) -> None:
    if recipe.locals is None:
        return
    _check_count('locals.number', recipe.locals.number)
    # The official recipe cuts what is left over, as the release does.
    official = recipe.multires is not None and recipe.multires.source == 'official'
    _check_size('locals.size', recipe.locals.size, 1 if official else recipe.patch_size)


def _choice(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(
            f'view recipe, {where}: unknown {value!r}; allowed: {", ".join(allowed)}'
        )


def _check_multires(recipe: Recipe) -> None:
    multires = recipe.multires
    if multires is None:
        return
    _choice('multires.source', multires.source, ('anchor', 'official'))
    _check_count('multires.number', multires.number)
    _check_eighths('multires.eighths', multires.eighths)
    if multires.source == 'official' and (recipe.locals is None or multires.number != 2):
        raise ValueError(
            "view recipe, multires: source='official' needs locals and makes number=2 views"
        )
    if multires.source == 'official':
        _check_official_multires(recipe)
    if multires.source == 'anchor' and multires.number > len(set(multires.eighths)):
        raise ValueError(
            f'view recipe, multires: number={multires.number} distinct scales cannot be drawn '
            f'from eighths={multires.eighths}'
        )


def _check_official_multires(recipe: Recipe) -> None:
    assert recipe.multires is not None
    for height, width in multires_sizes(recipe, recipe.multires.eighths):
        if min(height, width) < recipe.patch_size:
            raise ValueError(
                f'view recipe, multires: locals of {size_text(local_size(recipe))} reduced to '
                f'{height}x{width} hold no whole patch of {recipe.patch_size}; take larger ones'
            )


def _check_masked(recipe: Recipe) -> None:
    masked = recipe.masked
    if masked is None:
        return
    _choice('masked.source', masked.source, ('augmented', 'anchor', 'multires'))
    _choice('masked.mode', masked.mode, ('exact', 'official'))
    if masked.source not in recipe.available:
        raise ValueError(
            f'view recipe, masked: source={masked.source!r} needs a view that the recipe does '
            f'not make; it makes: {", ".join(sorted(recipe.available - {"masked"}))}'
        )
    if masked.source == 'multires':
        if masked.eighths is not None:
            raise ValueError(
                "view recipe, masked: eighths belong to multires with source='multires'"
            )
        if recipe.multires is not None and recipe.multires.source != 'anchor':
            raise ValueError(
                "view recipe, masked: source='multires' needs multires.source='anchor'"
            )
    if masked.eighths is not None:
        _check_eighths('masked.eighths', masked.eighths)
    if not _is_number(masked.ratio) or not 0 < masked.ratio < 1:
        raise ValueError(
            f'view recipe, masked.ratio: a number between 0 and 1, not {masked.ratio!r}'
        )
    if masked.mode == 'official':
        _check_official_mask(recipe)
    if kept_patches(min(h * w for h, w in masked_grids(recipe)), masked.ratio) < 1:
        raise ValueError(
            f'view recipe, masked: ratio={masked.ratio} leaves no patch of the smallest grid '
            f'{masked_grids(recipe)[0]} visible'
        )


def _check_official_mask(recipe: Recipe) -> None:
    patch = recipe.patch_size
    for k in masked_eighths(recipe):
        if any(side * k % (8 * patch) for side in recipe.size):
            raise ValueError(
                f"view recipe, masked: mode='official' needs whole patches of {patch} at "
                f'{k}/8 of {size_text(recipe.size)}, which is '
                f'{recipe.size[0] * k / 8:g}x{recipe.size[1] * k / 8:g}'
            )


def _check_scene(recipe: Recipe) -> None:
    scene = recipe.scene
    if scene is None:
        return
    _choice('scene.layout', scene.layout, ('visible', 'overlap', 'official'))
    _check_size('scene.size', scene.size, recipe.patch_size)
    _check_share('scene.alpha', scene.alpha)
    source = 'official' if scene.layout == 'official' else 'anchor'
    if recipe.multires is None or recipe.multires.source != source:
        raise ValueError(
            f'view recipe, scene: layout={scene.layout!r} needs multires.source={source!r}'
        )
    if scene.others not in (0, 1) or (scene.others and scene.layout == 'official'):
        raise ValueError(
            'view recipe, scene: others must be 0 or 1, and 0 with the official layout; '
            f'got {scene.others}'
        )
    if scene.layout == 'official':
        _check_official_scene(recipe)
    else:
        paste_scale(recipe)


def _check_official_scene(recipe: Recipe) -> None:
    assert recipe.scene is not None
    (height, width), crop = recipe.scene.size, local_size(recipe)
    if 2 * crop[1] + 2 > width or crop[0] + 2 > height:
        raise ValueError(
            f"view recipe, scene: layout='official' puts two crops side by side, so a scene of "
            f'{size_text(recipe.scene.size)} takes crops of at most {height - 2}x'
            f'{(width - 2) // 2}; got {size_text(crop)}'
        )
