"""Sizes that follow from a recipe."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
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


@lru_cache(maxsize=16)
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
        f'{max(recipe.multires.eighths)}/8 of {size_text(recipe.size)} and {recipe.scene.others} '
        f'other do not fit into a scene of {size_text(recipe.scene.size)} even at a quarter of '
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


def size_text(size: Size) -> str:
    """Write a size for a message."""
    return f'{size[0]}x{size[1]}'
