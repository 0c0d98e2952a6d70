"""Random masking."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saip.registry import MASKERS
from saip.structures import Grid
from saip.views.base import Clock, Draw, HostBatch
from saip.views.maskers.base import (
    MaskDraw,
    RatioMasker,
    kept_patches,
    mask_from_hidden_last,
)


@MASKERS.register_module()
class RandomMask(RatioMasker):
    """Hides an exact number of patches, every choice equally likely (MAE, arXiv:2111.06377)."""

    def draw(
        self,
        stream: str,
        grid: Grid,
        clock: Clock,
        batch: HostBatch,
        drawn: Mapping[str, Draw],
    ) -> MaskDraw:
        """Keep the patches with the smallest numbers."""
        noise = clock.of_images(stream, batch.keys, grid[0] * grid[1])
        ranked = np.argsort(noise, axis=1, kind='stable')
        return mask_from_hidden_last(ranked, kept_patches(noise.shape[1], self.ratio))
