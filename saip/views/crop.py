"""Random crops of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.registry import VIEWS
from saip.structures import View, Views
from saip.views.augment import build_augment
from saip.views.base import Clock, Draw, Frame, HostBatch, ViewType, stream
from saip.views.checks import check_count, check_range, check_size
from saip.views.crop_draw import CropDraw, CropRule
from saip.views.numbers import Condition, Numbers, bases_of, check_condition, make_condition
from saip.views.ops import RenderOps
from saip.views.sizes import Size, aspect_range

if TYPE_CHECKING:
    from saip.views.recipe import Recipe


@VIEWS.register_module()
class Crop(ViewType):
    """Random resized crops: one view of ``number`` crops per image, view-major.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
        number: of crops per image.
        size: (height, width) of a crop; None takes the anchor's.
        area: share of the image's area that a crop covers.
        aspect: range of a crop's width / height; None takes the one of the anchor's shape.
        augment: flip and colors, see :class:`saip.views.augment.Augment`; None for none.
        condition: what an encoder is told beside the images, see :class:`saip.views.same.Same`.

    Raises:
        InputError: an option is out of its range.
    """

    whole_patches = True
    """Whether a size that is no whole number of patches is refused."""

    def __init__(
        self,
        name: str,
        frame: Frame,
        number: int = 1,
        size: Size | None = None,
        area: tuple[float, float] = (0.8, 1.0),
        aspect: tuple[float, float] | None = None,
        augment: Mapping[str, Any] | None = None,
        condition: Condition = None,
    ) -> None:
        super().__init__(name, frame)
        self.rows = check_count(f'{name}.number', number)
        if aspect is not None:
            aspect = check_range(f'{name}.aspect', aspect)
        patch = frame.patch_size if self.whole_patches else 1
        self.rule = CropRule(
            size=check_size(f'{name}.size', frame.size if size is None else size, patch),
            area=check_range(f'{name}.area', area, 1),
            aspect=aspect_range(frame.size, aspect),
            augment=build_augment(f'{name}.augment', augment),
        )
        self.condition = check_condition(f'{name}.condition', condition)
        self.conditioned = condition is not None
        self.depends_on = bases_of(self.condition)

    def check(self, recipe: Recipe) -> None:
        """Find the numbers of the condition.

        Raises:
            InputError: there are no such numbers.
        """
        if isinstance(self.condition, str):
            recipe.find(self.name, 'condition', self.condition, Numbers)

    @property
    def size(self) -> Size:
        """(height, width) of a crop."""
        return self.rule.size

    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """The only one."""
        return [(self.size,)]

    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """The only one."""
        return (self.size,)

    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw the crops; each of ``number`` kinds has a stream of its own."""
        own = np.arange(len(batch.keys))
        crops = []
        for i in range(self.rows):
            name = stream(self.name, f'crop {i}')
            numbers = clock.of_images(name, batch.keys, self.rule.count)
            crops.append(self.rule.draw(numbers, own, batch.sizes))
        return Draw({'crop': CropDraw.join(crops)})

    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """The crops are the view."""
        images = cuts['crop']
        condition = make_condition(self.condition, self.rows, images, made, ops)
        return Views({self.name: View(images, condition=condition)})
