"""Another crop's regions at another size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.registry import VIEWS
from saip.structures import View, Views
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType
from saip.views.checks import check_size
from saip.views.crop import Crop
from saip.views.ops import RenderOps
from saip.views.sizes import Size

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class Recut(ViewType):
    """The regions of another view, cut from the original images at another size.

    Both have the same boxes and mirrored images; no number is drawn. Colors stay as they are in
    the original. It is what a tokenizer sees of a view (BEiT, CAE).

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        of: the crop.
        size: (height, width); None takes half of the crop's, a code of 8 pixels for each patch
            of 16.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(self, name: str, frame: Frame, of: str, size: Size | None = None) -> None:
        super().__init__(name, frame)
        self.of = of
        self.depends_on = (of,)
        self._asked = size

    def check(self, recipe: Recipe) -> None:
        """Find the crop.

        Raises:
            InputError: there is no such crop, or the size is no whole number of patches, to which
                images are cut.
        """
        base: Crop = recipe.find(self.name, 'of', self.of, Crop)
        self.rows = base.rows
        height, width = base.size
        half = (height // 2, width // 2)
        size = half if self._asked is None else self._asked
        self.size = check_size(f'{self.name}.size', size, self.frame.patch_size)

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """The only one."""
        return [(self.size,)]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The only one."""
        return (self.size,)

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Take the boxes of the crop."""
        crop = drawn[self.of].crops['crop']
        plain = {
            'jitter': np.zeros_like(crop.jitter),
            'gray': np.zeros_like(crop.gray),
            'sigma': np.zeros_like(crop.sigma),
            'solarize': np.zeros_like(crop.solarize),
        }
        return Draw({'crop': replace(crop, size=self.size, **plain)})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """The regions are the view."""
        return Views({self.name: View(cuts['crop'])})
