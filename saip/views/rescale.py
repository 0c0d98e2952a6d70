"""Views of another view's images at other resolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.errors import InputError
from saip.registry import VIEWS
from saip.structures import Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_count, check_scales
from saip.views.crop import Crop
from saip.views.ops import RenderOps
from saip.views.sizes import Size, whole_patches

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class Rescale(ViewType):
    """The same crop at several resolutions: views ``NAME_0``, ``NAME_1`` and so on.

    The scales are distinct and drawn per micro-batch; sizes are rounded to whole patches.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        of: the crop that is resized.
        number: of views.
        scales: factors of the crop's sides to draw from.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        name: str,
        frame: Frame,
        of: str = 'anchor',
        number: int = 2,
        scales: tuple[float, ...] = (0.75, 0.875, 1.125, 1.25, 1.375, 1.5),
    ) -> None:
        super().__init__(name, frame)
        self.of = of
        self.depends_on = (of,)
        self.number = check_count(f'{name}.number', number)
        self.scales = tuple(sorted(set(check_scales(f'{name}.scales', scales))))
        if self.number > len(self.scales):
            raise InputError(
                f'view recipe, {name}: number={number} distinct scales cannot be drawn from '
                f'scales={tuple(scales)}'
            )

    @property
    def names(self) -> tuple[str, ...]:
        """One per resolution."""
        return tuple(f'{self.name}_{i}' for i in range(self.number))

    def check(self, recipe: Recipe) -> None:
        """Find the crop.

        Raises:
            InputError: ``of`` is no crop.
        """
        self._crop: Crop = recipe.find(self.name, 'of', self.of, Crop)

    def _size(self, scale: float) -> Size:
        return whole_patches(self._crop.size, scale, self.frame.patch_size)

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """Every choice of distinct scales in every order."""
        return [tuple(map(self._size, s)) for s in permutations(self.scales, self.number)]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """One per resolution."""
        return tuple(self._size(scale) for scale in draw.values['scales'])

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw the scales of a micro-batch."""
        numbers = clock.of_step(stream(self.name, 'scales'), len(self.scales))
        chosen = np.argsort(numbers, kind='stable')[: self.number]
        return Draw(values={'scales': tuple(self.scales[i] for i in chosen)})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Resize the crop."""
        base = made[self.of]
        sizes = zip(self.names, self.sizes(draw), strict=True)
        return Views(
            {name: replace(base, images=ops.resize(base.images, size)) for name, size in sizes}
        )
