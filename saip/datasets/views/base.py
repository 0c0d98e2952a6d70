"""What both renderers share: how views follow from a plan, in terms of four operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from saip.datasets.views.layout import SceneDraw
from saip.datasets.views.plan import ViewPlan
from saip.datasets.views.recipe import Recipe, Size
from saip.datasets.views.scene import query_masks
from saip.datasets.views.sizes import (
    local_size,
    multires_sizes,
    paste_sizes,
    whole_patches,
)
from saip.datasets.views.upload import upload
from saip.structures import PatchMask, Views

Pictures = TypeVar('Pictures')
RESIZE_MODES = ('bilinear', 'nearest')


class Renderer(ABC, Generic[Pictures]):
    """Makes views of canvases by a plan.

    Args:
        recipe: by which the plans were drawn.
        mean: (3,) of the normalisation, in grey levels.
        std: (3,) of the normalisation, in grey levels.
        resize_mode: how views are resized, ``bilinear`` (antialiased) or ``nearest``.

    Raises:
        ValueError: unknown resize mode.
    """

    def __init__(
        self, recipe: Recipe, mean: Sequence[float], std: Sequence[float], resize_mode: str
    ) -> None:
        if resize_mode not in RESIZE_MODES:
            raise ValueError(
                f'unknown resize_mode {resize_mode!r}; allowed: {", ".join(RESIZE_MODES)}'
            )
        self.recipe = recipe
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.resize_mode = resize_mode

    @abstractmethod
    def _draw(self, plan: ViewPlan, canvas: Tensor) -> dict[str, Pictures]:
        """Make the random views of a plan."""

    @abstractmethod
    def _resize(self, pictures: Pictures, size: Size) -> Pictures:
        """Resize to ``size`` by the resize mode."""

    @abstractmethod
    def _paste(
        self, scene: Pictures, pastes: list[Pictures], draw: SceneDraw, alpha: float
    ) -> Pictures:
        """Blend ``pastes`` into the scenes in the order of ``draw``."""

    @abstractmethod
    def _pick(self, pictures: Pictures, source: Tensor) -> Pictures:
        """The pictures at ``source``."""

    @abstractmethod
    def _finish(self, pictures: Pictures, device: torch.device) -> Tensor:
        """Normalised (V, 3, h, w)."""

    @torch.no_grad()
    def render(self, plan: ViewPlan, canvas: Tensor, names: frozenset[str]) -> Views:
        """Make views.

        Args:
            plan: drawn for at least these names.
            canvas: (B, 3, Hc, Wc) uint8.
            names: the views wanted.
        """
        device = canvas.device
        drawn = self._draw(plan, canvas)
        multires = self._multires(plan, drawn) if plan.multires else []
        made = {name: view for name, view in drawn.items() if name in names}
        if 'multires' in names:
            made.update({f'multires_{i}': view for i, view in enumerate(multires)})
        views = Views()
        if 'masked' in names:
            made['masked'] = self._masked(plan, drawn, multires)
            views.mask = _patch_mask(plan, device)
        if 'scene' in names:
            made['scene'], views.scene_masks = self._scene(plan, drawn, multires, device)
        patch = self.recipe.patch_size
        views.images = {
            name: cut_to_patches(self._finish(view, device), patch)
            for name, view in made.items()
        }
        return views

    def _multires(self, plan: ViewPlan, drawn: dict[str, Pictures]) -> list[Pictures]:
        recipe = self.recipe
        assert recipe.multires is not None
        sources = [drawn['anchor']] * len(plan.multires)
        if recipe.multires.source == 'official':
            sources = [drawn['region'], self._resize(drawn['anchor'], local_size(recipe))]
        sizes = multires_sizes(recipe, plan.multires)
        return [self._resize(view, size) for view, size in zip(sources, sizes, strict=True)]

    def _masked(
        self, plan: ViewPlan, drawn: dict[str, Pictures], multires: list[Pictures]
    ) -> Pictures:
        recipe = self.recipe
        assert recipe.masked is not None
        if recipe.masked.source == 'multires':
            return multires[plan.masked]
        size = whole_patches(recipe.size, plan.masked, recipe.patch_size)
        return self._resize(drawn[recipe.masked.source], size)

    def _scene(
        self,
        plan: ViewPlan,
        drawn: dict[str, Pictures],
        multires: list[Pictures],
        device: torch.device,
    ) -> tuple[Pictures, Tensor]:
        recipe, draw = self.recipe, plan.scene
        assert recipe.scene is not None
        assert draw is not None
        sizes = paste_sizes(recipe, plan.multires)
        if recipe.scene.layout == 'official':
            pastes = [self._resize(drawn['anchor'], sizes[0]), drawn['region']]
        else:
            pastes = [
                self._resize(view, size) for view, size in zip(multires, sizes, strict=False)
            ]
        queries = len(pastes)
        other, boxes, rank = upload([draw.other, draw.boxes(sizes), draw.rank], device)
        if recipe.scene.others:
            pastes.append(self._pick(pastes[0], other))
        scene = self._paste(drawn['background'], pastes, draw, recipe.scene.alpha)
        hide = recipe.scene.layout == 'visible'
        masks = query_masks(boxes, rank, recipe.scene.size, queries, hide)
        return scene, masks


def cut_to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut trailing rows and columns that are no whole patch; only official sizes have any.

    The release's patch convolution drops them, while mmpretrain's pads.
    """
    height, width = images.shape[-2:]
    return images[..., : height // patch * patch, : width // patch * patch]


def _patch_mask(plan: ViewPlan, device: torch.device) -> PatchMask:
    mask = plan.mask
    assert mask is not None
    keep, restore, scored = upload([mask.keep, mask.restore, mask.scored], device)
    weight = None if mask.scored_weight is None else upload([mask.scored_weight], device)[0]
    return PatchMask(keep, restore, scored, weight)
