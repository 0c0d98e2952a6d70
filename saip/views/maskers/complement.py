"""The other half of another view's mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saip.errors import InputError
from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, Frame, HostBatch
from saip.views.maskers.base import MaskDraw, Masker, mask_from_hidden_last

if TYPE_CHECKING:
    from saip.views.masked import Masked
    from saip.views.recipe import Recipe


@MASKERS.register_module()
class ComplementMask(Masker):
    """Hides what the mask of another view shows, and shows what it hides.

    Args:
        where: the recipe's entry, for messages.
        frame: what all views of the recipe refer to.
        of: the other masked view, of the same size.
    """

    def __init__(self, where: str, frame: Frame, of: str) -> None:
        super().__init__(where, frame)
        self.of = of
        self.depends_on = (of,)

    def check(self, view: Masked, recipe: Recipe) -> None:
        """Compare with the other view.

        Raises:
            InputError: ``of`` is no masked view, can be of another size than this one, or hides
                a number of patches that differs between images.
        """
        other: Masked = recipe.find(self.where, 'of', self.of, type(view))
        if not view.follows(other):
            raise InputError(
                f'view recipe, {self.where}: the complement of {self.of} needs images of its '
                f'size: {view.name}.of={self.of!r} without scales'
            )
        if not other.masker.equal_counts:
            raise InputError(
                f'view recipe, {self.where}: the mask of {self.of} hides a number of '
                'patches that differs between images, so its complement is no batch'
            )

    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Exchange the visible and the hidden patches; no number is drawn."""
        mask = drawn[self.of].values['mask']
        ranked = np.concatenate([mask['scored'], mask['keep']], axis=1)
        return mask_from_hidden_last(ranked, np.asarray(mask['scored']).shape[1])
