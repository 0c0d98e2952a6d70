"""Block-wise masking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saip.errors import InputError
from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, Frame, HostBatch
from saip.views.checks import check_count, check_inner_share
from saip.views.maskers.base import (
    MaskDraw,
    RatioMasker,
    kept_patches,
    mask_from_hidden_last,
)
from saip.views.random import integers, within

if TYPE_CHECKING:
    from saip.views.masked import Masked
    from saip.views.recipe import Recipe

ROUNDS = 60
"""Blocks that are proposed per image; most images are full after a third of them."""


@MASKERS.register_module()
class BlockMask(RatioMasker):
    """Hides rectangles until an exact number of patches is hidden (BEiT, arXiv:2106.08254).

    A block has at least ``min_patches`` patches and at most as many as are still to be hidden,
    a log-uniform aspect, and a place anywhere on the grid, last row and column included; it
    counts if it hides something new and not too much. What is missing in the end is hidden at
    random places.

    Args:
        where: the recipe's entry, for messages.
        frame: what all views of the recipe refer to.
        ratio: share of hidden patches.
        hidden: number of hidden patches on every grid, in place of the share; None takes it.
        min_patches: area of the smallest block.
        min_aspect: smallest height / width of a block; the largest is its reciprocal.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        where: str,
        frame: Frame,
        ratio: float = 0.5,
        min_patches: int = 16,
        min_aspect: float = 0.3,
        hidden: int | None = None,
    ) -> None:
        super().__init__(where, frame, ratio)
        self.hidden = None if hidden is None else check_count(f'{where}.hidden', hidden)
        self.min_patches = check_count(f'{where}.min_patches', min_patches)
        self.min_aspect = check_inner_share(f'{where}.min_aspect', min_aspect)

    def check(self, view: Masked, recipe: Recipe) -> None:
        """Compare with the view.

        Raises:
            InputError: no patch stays visible, or one block would hide too much.
        """
        super().check(view, recipe)
        patches = min(h * w for h, w in view.grids())
        if self.hidden is not None and self.hidden >= patches:
            raise InputError(
                f'view recipe, {self.where}: hidden={self.hidden}, but the smallest grid '
                f'{view.grids()[0]} has {patches} patches, of which at least one stays visible'
            )
        hidden = patches - self._kept(patches)
        if self.min_patches > hidden:
            raise InputError(
                f'view recipe, {self.where}: min_patches={self.min_patches}, but only {hidden} '
                f'patches of the smallest grid {view.grids()[0]} are hidden'
            )

    def _kept(self, patches: int) -> int:
        """How many of ``patches`` stay visible."""
        return (
            kept_patches(patches, self.ratio) if self.hidden is None else patches - self.hidden
        )

    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Propose a block for every image at once, again and again."""
        patches = grid[0] * grid[1]
        kept = self._kept(patches)
        numbers = clock.of_images(stream, batch.keys, 4 * ROUNDS + patches)
        proposals = numbers[:, : 4 * ROUNDS].reshape(-1, ROUNDS, 4)
        hidden = np.zeros((len(batch.keys), patches), dtype=bool)
        missing = np.full(len(batch.keys), patches - kept)
        for number in range(ROUNDS):
            (open_,) = missing.nonzero()  # most images are full after a third of the rounds
            if not len(open_):
                break
            block = self._blocks(proposals[open_, number], grid, missing[open_])
            new = (block & ~hidden[open_]).sum(axis=1)
            new = np.where(new <= missing[open_], new, 0)
            hidden[open_] |= block & (new > 0)[:, None]
            missing[open_] -= new
        # Smallest first: visible patches in random order, then the hidden ones.
        ranked = np.argsort(numbers[:, 4 * ROUNDS :] + hidden, axis=1, kind='stable')
        return mask_from_hidden_last(ranked, kept)

    def _blocks(self, numbers: np.ndarray, grid: Grid, missing: np.ndarray) -> np.ndarray:
        """(B, L) bool: one rectangle per image by (B, 4) uniform numbers; empty if too long."""
        largest = np.maximum(missing, self.min_patches)
        area = self.min_patches + numbers[:, 0] * (largest - self.min_patches)
        aspect = np.exp(within(numbers[:, 1], *np.log([self.min_aspect, 1 / self.min_aspect])))
        height = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        width = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (height <= grid[0]) & (width <= grid[1])
        top = integers(numbers[:, 2], np.maximum(grid[0] - height, 0) + 1)[:, None]
        left = integers(numbers[:, 3], np.maximum(grid[1] - width, 0) + 1)[:, None]
        y, x = np.arange(grid[0]), np.arange(grid[1])
        rows = (y >= top) & (y < top + height[:, None]) & fits[:, None]
        cols = (x >= left) & (x < left + width[:, None])
        return (rows[:, :, None] & cols[:, None]).reshape(len(numbers), -1)
