"""The plan of a batch's views: every random number behind them, drawn apart from rendering.

Numbers of a picture are keyed by (seed, key, epoch), numbers of a micro-batch by (seed, step),
so a plan does not depend on the order of the batch nor on the number of processes, and a stored
plan renders the same views again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from saip.datasets.views.layout import (
    MIN_VISIBLE,
    SceneDraw,
    draw_official_layout,
    draw_random_layout,
)
from saip.datasets.views.masking import MaskDraw, exact_mask, official_mask
from saip.datasets.views.partners import Partners, draw_partners
from saip.datasets.views.random import integers, uniforms
from saip.datasets.views.random_view import RandomView, draw_random_view
from saip.datasets.views.recipe import CropRecipe, Recipe
from saip.datasets.views.sizes import (
    local_size,
    masked_eighths,
    paste_sizes,
    whole_patches,
)


@dataclass(frozen=True)
class ViewPlan:
    """All draws of a batch of B pictures.

    Attributes:
        sizes: (B, 2) original height and width; with a pool (2 B, 2), the pool's pictures last.
        random: draws by name: ``anchor``, ``augmented``, ``locals`` (n * B, view-major),
            ``region`` (the further local crop of the official recipe), ``background``.
        multires: scale of each multires view in eighths; empty if none is made.
        masked: scale of the masked view in eighths, or, where the recipe takes a multires view
            for it, that view's number; -1 if none is made.
        mask: hidden patches of the masked view.
        scene: layout of the scene.
        pool: (B,) picture of the pool that each scene's background is cut from; None without a
            pool, when it is another picture of the batch (``random['background'].source``).
    """

    sizes: np.ndarray
    random: dict[str, RandomView]
    multires: tuple[int, ...] = ()
    masked: int = -1
    mask: MaskDraw | None = None
    scene: SceneDraw | None = None
    pool: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, numbers and arrays."""
        return {
            'sizes': self.sizes,
            'random': {name: vars(view).copy() for name, view in self.random.items()},
            'multires': list(self.multires),
            'masked': self.masked,
            'mask': None if self.mask is None else vars(self.mask).copy(),
            'scene': None if self.scene is None else vars(self.scene).copy(),
            'pool': self.pool,
        }

    @staticmethod
    def from_dict(stored: Mapping[str, Any]) -> ViewPlan:
        """Inverse of :meth:`to_dict`; nested lists are taken for arrays as well."""
        mask, scene = stored['mask'], stored['scene']
        return ViewPlan(
            sizes=np.asarray(stored['sizes']),
            random={k: RandomView(**_arrays(v)) for k, v in stored['random'].items()},
            multires=tuple(stored['multires']),
            masked=int(stored['masked']),
            mask=None if mask is None else MaskDraw(**_arrays(mask)),
            scene=None if scene is None else SceneDraw(**_arrays(scene)),
            pool=None if stored['pool'] is None else np.asarray(stored['pool']),
        )


def _arrays(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if v is None else np.asarray(v) for k, v in stored.items()}


@dataclass(frozen=True)
class Clock:
    """What keys the draws of one micro-batch on one process."""

    seed: int
    epoch: int
    step: int
    rank: int = 0
    world_size: int = 1


def parts_for(recipe: Recipe, names: frozenset[str]) -> frozenset[str]:
    """Everything that must be drawn to make these views, the views included."""
    parts = set(names)
    if 'scene' in parts:
        parts |= {'background', 'multires'}
    if 'masked' in parts and recipe.masked is not None:
        parts.add(recipe.masked.source)
    if 'multires' in parts and recipe.multires is not None:
        parts |= {'anchor', 'region'} if recipe.multires.source == 'official' else {'anchor'}
    return frozenset(parts)


def draw_plan(
    recipe: Recipe,
    names: frozenset[str],
    keys: np.ndarray,
    sizes: np.ndarray,
    clock: Clock,
    pool_sizes: np.ndarray | None = None,
) -> ViewPlan:
    """Draw the plan of a batch.

    Args:
        recipe: what to make.
        names: the views wanted, of ``recipe.available``.
        keys: (B,) stable key of each picture.
        sizes: (B, 2) original height and width of each picture.
        clock: seed, epoch, step and process.
        pool_sizes: (P, 2) original sizes of the pictures that backgrounds are cut from; None
            takes other pictures of the batch.
    """
    parts = parts_for(recipe, names)
    partners = draw_partners(keys, clock.epoch, clock.seed, clock.rank, clock.world_size)
    plan: dict[str, Any] = {}
    if pool_sizes is not None and 'background' in parts:
        draws = uniforms(clock.seed, 'pool', keys, clock.epoch, 1)[:, 0]
        plan['pool'] = integers(draws, len(pool_sizes))
        sizes = np.concatenate([sizes, pool_sizes[plan['pool']]])
        behind = len(keys) + np.arange(len(keys))
        partners = replace(partners, background=behind)
    if 'multires' in parts:
        plan['multires'] = _draw_multires(recipe, clock)
    if 'masked' in parts:
        plan['masked'] = _draw_masked(recipe, clock)
        plan['mask'] = _draw_mask(recipe, plan, keys, clock)
    if 'scene' in parts:
        plan['scene'] = _draw_scene(recipe, plan['multires'], partners, keys, clock)
    random = _draw_random_views(recipe, parts, keys, sizes, clock, partners)
    return ViewPlan(sizes=sizes, random=random, **plan)


def draw_two_views(
    recipe: Recipe, keys: np.ndarray, sizes: np.ndarray, clock: Clock
) -> ViewPlan:
    """Draw two global views; without an augmented one, the second follows the anchor's rule."""
    own = np.arange(len(keys))
    crops = {'anchor': recipe.anchor, 'augmented': recipe.augmented or recipe.anchor}
    views = {
        name: draw_random_view(recipe, crop, name, keys, own, sizes, clock.seed, clock.epoch)
        for name, crop in crops.items()
    }
    return ViewPlan(sizes=sizes, random=views)


def _draw_random_views(
    recipe: Recipe,
    parts: frozenset[str],
    keys: np.ndarray,
    sizes: np.ndarray,
    clock: Clock,
    partners: Partners,
) -> dict[str, RandomView]:
    own = np.arange(len(keys))

    def draw(crop: CropRecipe, stream: str, source: np.ndarray = own) -> RandomView:
        return draw_random_view(
            recipe, crop, stream, keys, source, sizes, clock.seed, clock.epoch
        )

    views: dict[str, RandomView] = {}
    if 'anchor' in parts:
        views['anchor'] = draw(recipe.anchor, 'anchor')
    if 'augmented' in parts and recipe.augmented is not None:
        views['augmented'] = draw(recipe.augmented, 'augmented')
    if recipe.locals is not None:
        local = recipe.locals
        crop = CropRecipe(local.area, local.blur, local.solarize, local.aspect)
        if 'locals' in parts:
            drawn = [draw(crop, f'local_{i}') for i in range(local.number)]
            views['locals'] = RandomView.join(drawn)
        if 'region' in parts:
            views['region'] = draw(crop, 'region')
    if 'background' in parts and recipe.scene is not None:
        scene = recipe.scene
        crop = CropRecipe(scene.area, scene.blur, scene.solarize, scene.aspect)
        views['background'] = draw(crop, 'background', partners.background)
    return views


def _step_numbers(clock: Clock, stream: str, n: int) -> np.ndarray:
    return uniforms(clock.seed, stream, np.array([clock.step]), 0, n)[0]


def _draw_multires(recipe: Recipe, clock: Clock) -> tuple[int, ...]:
    assert recipe.multires is not None
    eighths = np.array(recipe.multires.eighths)
    if recipe.multires.source == 'official':
        chosen = integers(_step_numbers(clock, 'multires', 2), len(eighths))
    else:
        distinct = np.unique(eighths)
        ranked = np.argsort(_step_numbers(clock, 'multires', len(distinct)), kind='stable')
        eighths, chosen = distinct, ranked[: recipe.multires.number]
    return tuple(int(k) for k in eighths[chosen])


def _draw_masked(recipe: Recipe, clock: Clock) -> int:
    assert recipe.masked is not None
    number = _step_numbers(clock, 'masked scale', 1)
    if recipe.masked.source == 'multires' and recipe.multires is not None:
        return int(integers(number, recipe.multires.number)[0])
    eighths = masked_eighths(recipe)
    return eighths[int(integers(number, len(eighths))[0])]


def _draw_mask(
    recipe: Recipe, plan: dict[str, Any], keys: np.ndarray, clock: Clock
) -> MaskDraw:
    assert recipe.masked is not None
    patch, masked = recipe.patch_size, recipe.masked
    eighth = plan['masked']
    if masked.source == 'multires':
        eighth = plan['multires'][eighth]
    height, width = whole_patches(recipe.size, eighth, patch)
    target = (height // patch, width // patch)
    official = masked.mode == 'official'
    source = (recipe.size[0] // patch, recipe.size[1] // patch) if official else target
    noise = uniforms(clock.seed, 'mask', keys, clock.epoch, source[0] * source[1])
    if official:
        return official_mask(noise, source, target, masked.ratio)
    return exact_mask(noise, masked.ratio)


def _draw_scene(
    recipe: Recipe,
    eighths: tuple[int, ...],
    partners: Partners,
    keys: np.ndarray,
    clock: Clock,
) -> SceneDraw:
    assert recipe.scene is not None
    size = recipe.scene.size
    if recipe.scene.layout == 'official':
        crop = local_size(recipe)
        places = draw_official_layout(crop, size, keys, clock.epoch, clock.seed)
    else:
        least = MIN_VISIBLE if recipe.scene.layout == 'visible' else 0.0
        sizes = paste_sizes(recipe, eighths)
        places = draw_random_layout(sizes, size, least, keys, clock.epoch, clock.seed)
    return SceneDraw(partners.other, *places)
