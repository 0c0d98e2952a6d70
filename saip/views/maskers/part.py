"""Masking guided by the parts of a body."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
from mmengine.logging import print_log

from saip.errors import InputError
from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, Frame, HostBatch
from saip.views.body_parts import PARTS, joint_cells, part_cells, place_template
from saip.views.checks import check_choice, check_share
from saip.views.crop import Crop
from saip.views.maskers.base import (
    MaskDraw,
    RatioMasker,
    kept_patches,
    mask_from_hidden_last,
)
from saip.views.maskers.block import BlockMask
from saip.views.random import integers

if TYPE_CHECKING:
    from saip.views.masked import Masked
    from saip.views.recipe import Recipe

RELEASED_SHARE = 0.3
"""Largest share of a part's patches that HAP's release hides."""

STANDS_IN = {
    'template': 'an upright standing person stands in',
    'block': 'blocks alone are hidden',
}


@MASKERS.register_module()
class PartMask(RatioMasker):
    """Hides parts of the body first, then blocks (HAP, arXiv:2310.20695).

    Of the six parts of :data:`saip.views.body_parts.PARTS` a number from 0 to 6 is drawn, every
    number equally likely, and that many of those that the crop shows are taken in random order.
    They are hidden whole, one after the other, until the exact number of hidden patches is
    reached; of the part that no longer fits, patches at random places. What is left is hidden
    as :class:`BlockMask` would, of its patches random ones.

    Args:
        where: the recipe's entry, for messages.
        frame: what all views of the recipe refer to.
        ratio: share of hidden patches.
        min_patches: of the smallest block.
        min_aspect: smallest height / width of a block.
        parts: ``paper`` as above; ``released`` as HAP's code: the number that was drawn for an
            image of the batch is the largest that the next image can draw, so that after a few
            images it is 0, and of a part a share of at most 0.3 is hidden. There masks depend on
            the order of the batch.
        score_threshold: a keypoint counts if its score is above this.
        on_missing: what to do for images without keypoints: ``error``; ``template`` takes a
            standing person as large as the image; ``block`` hides blocks alone. The log says it
            once.

    Raises:
        InputError: an option is out of its range.
    """

    def __init__(
        self,
        where: str,
        frame: Frame,
        ratio: float = 0.5,
        min_patches: int = 12,
        min_aspect: float = 0.3,
        parts: Literal['paper', 'released'] = 'paper',
        score_threshold: float = 0.0,
        on_missing: Literal['error', 'template', 'block'] = 'error',
    ) -> None:
        super().__init__(where, frame, ratio)
        self.blocks = BlockMask(where, frame, ratio, min_patches, min_aspect)
        self.parts = check_choice(f'{where}.parts', parts, ('paper', 'released'))
        self.score_threshold = check_share(f'{where}.score_threshold', score_threshold)
        allowed = ('error', *STANDS_IN)
        self.on_missing = check_choice(f'{where}.on_missing', on_missing, allowed)
        self._said = False

    def check(self, view: Masked, recipe: Recipe) -> None:
        """Find the crop through which the keypoints go.

        Raises:
            InputError: the masked images are no crop of each image, or the blocks do not fit.
        """
        self.blocks.check(view, recipe)
        crop = recipe.find(view.name, 'of', view.of, Crop)
        self._crop = crop.name

    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Rank parts over blocks over the rest.

        Raises:
            InputError: an image has no keypoints, and ``on_missing`` is ``error``.
        """
        patches, count = grid[0] * grid[1], len(batch.keys)
        crop = drawn[self._crop].crops['crop']
        cells = part_cells(
            *joint_cells(self._keypoints(batch), crop, grid, self.score_threshold), grid
        )
        numbers = clock.of_images(f'{stream}/parts', batch.keys, 1 + 2 * len(PARTS) + patches)
        number, order, share, noise = np.split(
            numbers, np.cumsum([1, len(PARTS), len(PARTS)]), axis=1
        )
        taken = self._taken(number[:, 0], order, np.any(cells, axis=2, keepdims=True)[..., 0])
        if self.parts == 'released':
            cells = _some_of(cells, noise, RELEASED_SHARE * share)
        blocks = self.blocks.draw(stream, grid, clock, batch, drawn)
        level = np.zeros(
            (count, patches)
        )  # 0: shown if it can be, 1: in a block, 2 on: in a part
        np.put_along_axis(level, blocks.scored, 1.0, axis=1)
        # Earlier parts are higher; a patch of two parts belongs to the earlier one.
        ranks = np.where(taken < len(PARTS), len(PARTS) + 1 - taken, 0)
        for part, rank in zip(cells.swapaxes(0, 1), ranks.T, strict=True):
            level = np.maximum(level, part * rank[:, None])
        ranked = np.argsort(level + noise, axis=1, kind='stable')
        return mask_from_hidden_last(ranked, kept_patches(patches, self.ratio))

    def _taken(self, number: np.ndarray, order: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """(B, 6) place of each part among those that are hidden; 6 for a part that is not.

        Args:
            number: (B,) uniform, of the number of parts.
            order: (B, 6) uniform, of their order.
            shown: (B, 6) bool, whether the crop shows the part; others are passed over.
        """
        places = np.argsort(np.argsort(order + ~shown, axis=1, kind='stable'), axis=1)
        counts = integers(number, len(PARTS) + 1)
        if self.parts == 'released':
            counts = _shrinking(number)
        return np.where(shown & (places < counts[:, None]), places, len(PARTS))

    def _keypoints(self, batch: HostBatch) -> np.ndarray:
        """(B, 17, 3) keypoints with a substitute for what is missing."""
        found = batch.keypoints
        if found is None:
            found = np.full((len(batch.keys), *place_template(batch.sizes).shape[1:]), np.nan)
        missing = np.isnan(found).any(axis=(1, 2))
        if not missing.any():
            return found
        if self.on_missing == 'error':
            raise InputError(self._explain(batch, missing))
        if not self._said:
            self._said = True
            text = (
                f'view recipe, {self.where}: there are images without keypoints, in this batch '
                f'{missing.sum()} of {len(missing)}; {STANDS_IN[self.on_missing]} '
                f'(on_missing={self.on_missing!r})'
            )
            print_log(text, 'current', logging.WARNING)
        if self.on_missing == 'block':
            return found  # what is not a number counts as not seen
        return np.where(missing[:, None, None], place_template(batch.sizes), found)

    def _explain(self, batch: HostBatch, missing: np.ndarray) -> str:
        what = f'{missing.sum()} of {len(missing)} images of a batch have no keypoints'
        if batch.keypoints is None:
            what = (
                'the data set has no keypoints; train_dataloader.dataset.keypoints names their '
                'file (SAIP_KEYPOINTS in the shipped configs)'
            )
        return (
            f'view recipe, {self.where}: {what}; tools/dataset_converters/make_keypoints.py makes '
            f"it; or choose model.data_preprocessor.views.{self.where}.on_missing='template' (a "
            "standing person) or 'block' (no parts)"
        )


def _shrinking(numbers: np.ndarray) -> np.ndarray:
    """(B,) numbers of parts of which each is at most the one before (HAP's release)."""
    counts = np.zeros(len(numbers), dtype=np.int64)
    most = len(PARTS)
    for i, number in enumerate(numbers):
        most = counts[i] = int(integers(number, most + 1))
        if not most:
            break
    return counts


def _some_of(cells: np.ndarray, noise: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Keep a share of each part's patches, rounded down, at random places.

    Args:
        cells: (B, 6, L) bool.
        noise: (B, L) uniform.
        share: (B, 6).
    """
    # Patches of the part first, in random order.
    places = np.argsort(np.argsort(noise[:, None] + ~cells, axis=2), axis=2)
    counts = np.floor(cells.sum(axis=2) * share)
    return cells & (places < counts[:, :, None])
