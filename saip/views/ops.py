"""Operations on images that view types are written in, and rendering by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from saip.compiling import Compilable
from saip.errors import InputError
from saip.structures import PatchMask, Views
from saip.views.crop_draw import CropDraw
from saip.views.sizes import Size
from saip.views.upload import upload

if TYPE_CHECKING:
    from saip.views.maskers import MaskDraw
    from saip.views.recipe import Recipe, ViewPlan

RESIZE_MODES = ('bilinear', 'nearest')


@dataclass(frozen=True)
class Paste:
    """Where n images are pasted into each of B scenes.

    Attributes:
        corners: (B, n, 2) rows of the upper and columns of the left edges.
        order: (B, n) the pastes in the order in which they are pasted.
        alpha: opacity.
    """

    corners: np.ndarray
    order: np.ndarray
    alpha: float


class RenderOps(Compilable, ABC):
    """Operations on images, which are whatever ``cut`` returns.

    Args:
        mean: (3, 1, 1) of the normalization, in gray levels.
        std: (3, 1, 1) of the normalization, in gray levels.
        resize_mode: how views are resized, ``bilinear`` (antialiased) or ``nearest``.

    Raises:
        InputError: unknown resize mode.
    """

    def __init__(self, mean: Tensor, std: Tensor, resize_mode: str = 'bilinear') -> None:
        if resize_mode not in RESIZE_MODES:
            raise InputError(
                f'unknown resize_mode {resize_mode!r}; allowed: {", ".join(RESIZE_MODES)}'
            )
        self.mean = mean
        self.std = std
        self.resize_mode = resize_mode

    @abstractmethod
    def cut(
        self, crops: Mapping[Hashable, CropDraw], canvas: Tensor, pool: Tensor | None
    ) -> dict[Hashable, Any]:
        """Cut, flip and color.

        Args:
            crops: draws by any key.
            canvas: (B, 3, Hc, Wc) uint8, the images squeezed to one size.
            pool: (P, 3, Hc, Wc) uint8, images of the pool; None without one.

        Returns:
            The images of each draw by its key.
        """

    @abstractmethod
    def resize(self, images: Any, size: Size) -> Any:
        """Resize by the resize mode; ``images`` themselves if they have this size."""

    @abstractmethod
    def paste(self, scene: Any, pastes: list[Any], where: Paste) -> Any:
        """Blend the pastes into the scenes in their order; ``scene`` may be changed."""

    @abstractmethod
    def pick(self, images: Any, source: Tensor) -> Any:
        """The images at ``source`` (B,)."""

    def separate(self, images: list[Any], others: list[Tensor]) -> list[Any]:
        """Copy what shares memory with another of ``images`` or with ``others``.

        Called before :meth:`finish`, which may work in place.
        """
        return images

    @abstractmethod
    def finish(self, images: Any) -> Tensor:
        """Normalized (V, 3, h, w)."""

    def upload(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Bring arrays to the device, see :func:`saip.views.upload.upload`."""
        return upload(arrays, self.mean.device)

    def patch_mask(self, mask: MaskDraw) -> PatchMask:
        """Bring a mask to the device."""
        keep, restore, scored = self.upload([mask.keep, mask.restore, mask.scored])
        weight = None if mask.scored_weight is None else self.upload([mask.scored_weight])[0]
        return PatchMask(keep, restore, scored, weight)


@torch.no_grad()
def render(
    recipe: Recipe,
    plan: ViewPlan,
    canvas: Tensor,
    names: Iterable[str],
    ops: RenderOps,
    pool: Tensor | None = None,
) -> Views:
    """Make the views of a plan.

    Crops of one size are cut together, and every distinct tensor is normalized once.

    Args:
        recipe: by which the plan was drawn.
        plan: drawn for at least these names.
        canvas: (B, 3, Hc, Wc) uint8.
        names: the recipe's entries whose views are wanted; what they are built on is made, too.
        ops: operations on images.
        pool: (P, 3, Hc, Wc) uint8, images for backgrounds; None without any.
    """
    crops: dict[Hashable, CropDraw] = {
        (entry, part): crop
        for entry, draw in plan.draws.items()
        for part, crop in draw.crops.items()
    }
    cuts = ops.cut(crops, canvas, pool)
    made = Views()
    for entry, draw in plan.draws.items():
        own = {part: cuts[entry, part] for part in draw.crops}
        made = made.merged(recipe[entry].make(draw, own, made, ops))
    return _finished(recipe, made, names, ops)


def _finished(recipe: Recipe, made: Views, names: Iterable[str], ops: RenderOps) -> Views:
    views = {name: made[name] for entry in names for name in recipe[entry].names}
    distinct = {id(view.images): view.images for view in views.values()}
    apart = ops.separate(list(distinct.values()), list(made.targets.values()))
    patch = recipe.frame.patch_size
    finished = {
        key: cut_to_patches(ops.finish(images), patch)
        for key, images in zip(distinct, apart, strict=True)
    }
    by_name = {
        name: replace(view, images=finished[id(view.images)]) for name, view in views.items()
    }
    return Views(by_name, made.targets)


def cut_to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut trailing rows and columns that are no whole patch; only official sizes have any.

    The release's patch convolution drops them, while mmpretrain's pads.
    """
    height, width = images.shape[-2:]
    return images[..., : height // patch * patch, : width // patch * patch]
