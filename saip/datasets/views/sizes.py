"""Sizes that follow from a recipe, and the refusal of recipes that cannot work."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations

from saip.datasets.views.recipe import EIGHTHS, Recipe, Size
from saip.structures import Grid

PASTE_SCALES = (Fraction(1, 2), Fraction(3, 8), Fraction(1, 3), Fraction(1, 4))


def aspect_range(size: Size, explicit: tuple[float, float] | None) -> tuple[float, float]:
    """Range of a crop's width / height, by the anchor's shape unless given.

    Person boxes are narrower than most encoders' inputs, hence the tabled ranges.
    """
    if explicit is not None:
        return explicit
    ratio = size[1] / size[0]
    table = {Fraction(1): (3 / 4, 4 / 3), Fraction(1, 3): (0.25, 0.4)}
    table |= dict.fromkeys((Fraction(1, 2), Fraction(3, 4)), (0.4, 0.6))
    return table.get(Fraction(size[1], size[0]), (0.8 * ratio, 1.2 * ratio))


def whole_patches(size: Size, eighth: int, patch: int) -> Size:
    """``size`` times ``eighth`` / 8, each side rounded (halves up) to whole patches."""
    height, width = (
        max(1, (2 * side * eighth + 8 * patch) // (16 * patch)) * patch for side in size
    )
    return height, width


def multires_sizes(recipe: Recipe, eighths: tuple[int, ...]) -> list[Size]:
    """Sizes of the multires views at these scales."""
    if recipe.multires is not None and recipe.multires.source == 'official':
        height, width = local_size(recipe)
        return [(height * k // 8, width * k // 8) for k in eighths]
    return [whole_patches(recipe.size, k, recipe.patch_size) for k in eighths]


def masked_eighths(recipe: Recipe) -> tuple[int, ...]:
    """Scales that the masked view can have."""
    if recipe.masked is None:
        return ()
    if recipe.masked.source == 'multires' and recipe.multires is not None:
        return recipe.multires.eighths
    return recipe.masked.eighths or EIGHTHS


def masked_grids(recipe: Recipe) -> tuple[Grid, ...]:
    """Patch grids that the masked view can have, smallest first."""
    patch = recipe.patch_size
    sizes = {whole_patches(recipe.size, k, patch) for k in masked_eighths(recipe)}
    return tuple(sorted((h // patch, w // patch) for h, w in sizes))


def local_size(recipe: Recipe) -> Size:
    """Size of the local crops.

    Raises:
        ValueError: the recipe has none.
    """
    if recipe.locals is None:
        raise ValueError('view recipe: this needs locals, which the recipe does not make')
    return recipe.locals.size


def random_view_size(recipe: Recipe, name: str) -> Size:
    """Size of a view that is cut from a picture."""
    if name in ('anchor', 'augmented'):
        return recipe.size
    if name == 'background' and recipe.scene is not None:
        return recipe.scene.size
    return local_size(recipe)


def paste_sizes(recipe: Recipe, eighths: tuple[int, ...]) -> list[Size]:
    """Sizes of all pastes of the scene: the queries in order, then the other person."""
    assert recipe.scene is not None
    if recipe.scene.layout == 'official':
        return [local_size(recipe)] * 2
    scale = paste_scale(recipe)
    sizes = [_reduced(size, scale) for size in multires_sizes(recipe, eighths)]
    return sizes + sizes[:1] * recipe.scene.others


def paste_scale(recipe: Recipe) -> Fraction:
    """Scale of a paste against its multires view.

    The largest of 1/2, 3/8, 1/3 and 1/4 with which every draw of scales can be laid out.

    Raises:
        ValueError: none can.
    """
    assert recipe.scene is not None
    assert recipe.multires is not None
    draws = list(permutations(recipe.multires.eighths, recipe.multires.number))
    for scale in PASTE_SCALES:
        if all(_fits(recipe, draw, scale) for draw in draws):
            return scale
    raise ValueError(
        f'view recipe, scene: {recipe.multires.number} queries at up to '
        f'{max(recipe.multires.eighths)}/8 of {_text(recipe.size)} and {recipe.scene.others} '
        f'other do not fit into a scene of {_text(recipe.scene.size)} even at a quarter of '
        'their size; take a larger scene or smaller eighths'
    )


def _fits(recipe: Recipe, eighths: tuple[int, ...], scale: Fraction) -> bool:
    assert recipe.scene is not None
    height, width = recipe.scene.size
    sizes = [_reduced(size, scale) for size in multires_sizes(recipe, eighths)]
    if any(h > height or w > width for h, w in sizes):
        return False
    if recipe.scene.layout == 'overlap':
        return True
    widths = [w for _, w in sizes + sizes[:1] * recipe.scene.others]
    # Worst order: the widest is pasted last and is the one that must be seen whole.
    return sum((w + 1) // 2 for w in widths) + max(widths) // 2 <= width


def _reduced(size: Size, scale: Fraction) -> Size:
    height, width = (max(1, int(side * scale + Fraction(1, 2))) for side in size)
    return height, width


def _text(size: Size) -> str:
    return f'{size[0]}x{size[1]}'


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that cannot work.

    Raises:
        ValueError: with the reason.
    """
    patch = recipe.patch_size
    if recipe.size[0] % patch or recipe.size[1] % patch:
        raise ValueError(
            f'view recipe: size {_text(recipe.size)} is not a multiple of patch size {patch}'
        )
    _check_multires(recipe)
    _check_masked(recipe)
    _check_scene(recipe)


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
    if multires.source == 'official' and (recipe.locals is None or multires.number != 2):
        raise ValueError(
            "view recipe, multires: source='official' needs locals and makes number=2 views"
        )
    if multires.source == 'anchor' and not 1 <= multires.number <= len(set(multires.eighths)):
        raise ValueError(
            f'view recipe, multires: number={multires.number} distinct scales cannot be drawn '
            f'from eighths={multires.eighths}'
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
    if masked.mode == 'official':
        _check_official_mask(recipe)
    if int(min(h * w for h, w in masked_grids(recipe)) * (1 - masked.ratio) + 1e-9) < 1:
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
                f'{k}/8 of {_text(recipe.size)}, which is '
                f'{recipe.size[0] * k / 8:g}x{recipe.size[1] * k / 8:g}'
            )


def _check_scene(recipe: Recipe) -> None:
    scene = recipe.scene
    if scene is None:
        return
    _choice('scene.layout', scene.layout, ('visible', 'overlap', 'official'))
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
            f'{_text(recipe.scene.size)} takes crops of at most {height - 2}x'
            f'{(width - 2) // 2}; got {_text(crop)}'
        )
