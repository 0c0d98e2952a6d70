"""The masking of the authors' release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from saip.errors import InputError
from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, HostBatch
from saip.views.maskers.base import MaskDraw, RatioMasker, kept_patches

if TYPE_CHECKING:
    from saip.views.masked import Masked
    from saip.views.recipe import Recipe


@MASKERS.register_module()
class OfficialMask(RatioMasker):
    """Draws on the anchor's grid and enlarges the mask by nearest neighbors.

    Cells are duplicated unevenly, so the number of visible cells differs between images
    while the number of encoded ones does not; what is scored follows the visible map.
    """

    equal_counts = False

    def check(self, view: Masked, recipe: Recipe) -> None:
        """Compare with the view.

        Raises:
            InputError: no patch stays visible, or a size is no whole number of patches.
        """
        super().check(view, recipe)
        patch = self.frame.patch_size
        for height, width in view.unrounded_sizes():
            if height % patch or width % patch:
                raise InputError(
                    f'view recipe, {self.where}: OfficialMask needs whole patches of {patch}, but '
                    f'the view can be {float(height):g}x{float(width):g}'
                )

    @property
    def _source(self) -> Grid:
        patch = self.frame.patch_size
        return self.frame.size[0] // patch, self.frame.size[1] // patch

    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Draw on the anchor's grid."""
        source = self._source
        noise = clock.of_images(stream, batch.keys, source[0] * source[1])
        return official_mask(noise, source, grid, self.ratio)


def official_mask(noise: np.ndarray, source: Grid, target: Grid, ratio: float) -> MaskDraw:
    """The authors' rule.

    Args:
        noise: (B, h * w) uniform over ``source``.
        source: the anchor's grid.
        target: the masked view's grid.
        ratio: share of hidden patches.
    """
    drawn = np.zeros(noise.shape, dtype=bool)
    kept = kept_patches(noise.shape[1], ratio)
    ranked = np.argsort(noise, axis=1, kind='stable')
    np.put_along_axis(drawn, ranked[:, :kept], True, axis=1)
    rows = np.arange(target[0]) * source[0] // target[0]
    cols = np.arange(target[1]) * source[1] // target[1]
    visible = drawn.reshape(-1, *source)[:, rows][:, :, cols].reshape(len(noise), -1)
    sequence = np.argsort(~visible, axis=1, kind='stable')
    restore = np.argsort(sequence, axis=1, kind='stable')
    keep = sequence[:, : kept_patches(visible.shape[1], ratio)]
    # Hidden cells come last in the sequence, so reversing puts them in front of the padding.
    hidden = (~visible).sum(axis=1)
    scored = sequence[:, ::-1][:, : hidden.max()]
    weight = np.arange(hidden.max())[None, :] < hidden[:, None]
    return MaskDraw(keep, restore, scored.copy(), weight.astype(np.float32))
