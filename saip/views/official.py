"""Views as the authors' release makes them, faults included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.errors import InputError
from saip.registry import VIEWS
from saip.structures import View, Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_scales
from saip.views.crop import Crop
from saip.views.ops import RenderOps
from saip.views.partners import draw_partners
from saip.views.random import integers
from saip.views.scene import BaseScene
from saip.views.sizes import Size, fraction, size_text

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class OfficialCrop(Crop):
    """Crops whose trailing rows and columns that are no whole patch are cut off."""

    whole_patches = False


@VIEWS.register_module()
class OfficialRescale(ViewType):
    """Views ``NAME_0``, a crop, and ``NAME_1``, another reduced to its size, each rescaled.

    The two scales are independent, and what is no whole patch is cut off at the end.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        of: the crop.
        whole: the other one, the anchor.
        scales: factors of the crop's sides to draw from.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        of: str = 'extra_local_crop',
        whole: str = 'anchor',
        scales: tuple[float, ...] = (0.75, 0.875, 1.125, 1.25),
    ) -> None:
        super().__init__(name, frame)
        self.of, self.whole = of, whole
        self.depends_on = (of, whole)
        self.scales = check_scales(f'{name}.scales', scales)

    @property
    def names(self) -> tuple[str, ...]:
        """The crop, then the other."""
        return f'{self.name}_0', f'{self.name}_1'

    def check(self, recipe: Recipe) -> None:
        """Find the crops.

        Raises:
            InputError: they are none, or a scale leaves no whole patch.
        """
        self._crop: Crop = recipe.find(self.name, 'of', self.of, Crop)
        recipe.find(self.name, 'whole', self.whole, Crop)
        for scale in self.scales:
            if min(self._size(scale)) < self.frame.patch_size:
                raise InputError(
                    f'view recipe, {self.name}: crops of {size_text(self._crop.size)} reduced to '
                    f'{size_text(self._size(scale))} hold no whole patch of '
                    f'{self.frame.patch_size}; take larger ones'
                )

    def _size(self, scale: float) -> Size:
        height, width = (int(side * fraction(scale)) for side in self._crop.size)
        return height, width

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """Every pair of scales."""
        return [tuple(map(self._size, pair)) for pair in product(self.scales, repeat=2)]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """Before the rest is cut off."""
        return tuple(self._size(scale) for scale in draw.values['scales'])

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw both scales of a micro-batch."""
        chosen = integers(clock.of_step(stream(self.name, 'scales'), 2), len(self.scales))
        return Draw(values={'scales': tuple(self.scales[i] for i in chosen)})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Resize both."""
        sources = made[self.of].images, ops.resize(made[self.whole].images, self._crop.size)
        triples = zip(self.names, sources, self.sizes(draw), strict=True)
        return Views({name: View(ops.resize(x, size)) for name, x, size in triples})


@VIEWS.register_module()
class OfficialScene(BaseScene):
    """Two pastes of one size that never overlap: a crop, and right of it the reduced anchor.

    The queries are (anchor, crop); the targets are their rectangles.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        crop: the crop that is pasted.
        whole: what is reduced to the crop's size and pasted, the anchor.
        options: see :class:`saip.views.scene.BaseScene`.
    """

    num_queries = 2
    cell_rule = 'nearest'

    def __init__(
        self,
        name: str,
        frame: Frame,
        crop: str = 'extra_local_crop',
        whole: str = 'anchor',
        size: Size = (224, 224),
        alpha: float = 0.7,
        area: tuple[float, float] = (0.2, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, frame, size, alpha, area, aspect, augment)
        self.crop, self.whole = crop, whole
        self.depends_on = (crop, whole)

    def check(self, recipe: Recipe) -> None:
        """Find the crops.

        Raises:
            InputError: they are none, or two do not fit side by side.
        """
        self._crop: Crop = recipe.find(self.name, 'crop', self.crop, Crop)
        recipe.find(self.name, 'whole', self.whole, Crop)
        (height, width), crop = self.size, self._crop.size
        if 2 * crop[1] + 2 > width or crop[0] + 2 > height:
            raise InputError(
                f'view recipe, {self.name}: OfficialScene puts two crops side by side, so a '
                f'scene of {size_text(self.size)} takes crops of at most {height - 2}x'
                f'{(width - 2) // 2}; got {size_text(crop)}'
            )

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw places and background."""
        partners = draw_partners(batch.keys, clock, stream(self.name, 'partners'))
        numbers = clock.of_images(stream(self.name, 'layout'), batch.keys, 4)
        top, left, order = official_layout(numbers, self._crop.size, self.size)
        return Draw(
            {'background': self._draw_background(clock, batch, partners.background)},
            {
                'top': top,
                'left': left,
                'order': order,
                'sizes': np.array([self._crop.size] * 2),
            },
        )

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Reduce the anchor and paste both."""
        anchor = ops.resize(made[self.whole].images, self._crop.size)
        pastes = [anchor, made[self.crop].images]
        return self._compose(
            draw, cuts['background'], pastes, ops.upload(self._places(draw)), ops
        )


def official_layout(
    numbers: np.ndarray, crop: Size, scene: Size
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The authors' layout of the pastes (anchor, crop).

    The crop is pasted first, the anchor to the right of it, and they never overlap.

    Args:
        numbers: (B, 4) uniform.
        crop: size of both pastes.
        scene: size of the scene.

    Returns:
        top, left, order: (B, 2) each, see :func:`saip.views.layout.draw_random_layout`.
    """
    height, width = crop
    rows = scene[0] - height - 1
    crop_top = integers(numbers[:, 0], rows)
    crop_left = integers(numbers[:, 1], scene[1] - 2 * width - 1)
    top = integers(numbers[:, 2], rows)
    start = crop_left + width
    left = start + integers(numbers[:, 3], scene[1] - width - 1 - start)
    order = np.broadcast_to(np.array([1, 0]), (len(numbers), 2)).copy()
    return np.stack([top, crop_top], 1), np.stack([left, crop_left], 1), order
