"""Draws of what is cut from images: box, flip and colors."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from saip.views import boxes
from saip.views.augment import NUMBERS, Augment
from saip.views.sizes import Size


@dataclass(frozen=True)
class CropDraw:
    """Draws of M crops.

    Attributes:
        size: (height, width) of all of them.
        source: (M,) position of the image in the batch, or in the pool where ``pool`` says so.
        original: (M, 2) height and width of these images before they were squeezed.
        pool: (M,) bool, whether the image is one of the pool.
        box: (M, 4) top, left, height, width in the original image's pixels.
        flip: (M,) bool, mirrored left to right.
        jitter: (M,) bool, whether the color operations apply.
        factors: (M, 4) of brightness, contrast, saturation and hue.
        order: (M, 4) indices into these four, in the order of application.
        gray: (M,) bool.
        sigma: (M,) of the Gaussian blur in pixels of the crop; 0 for none.
        solarize: (M,) bool.
    """

    size: Size
    source: np.ndarray
    original: np.ndarray
    pool: np.ndarray
    box: np.ndarray
    flip: np.ndarray
    jitter: np.ndarray
    factors: np.ndarray
    order: np.ndarray
    gray: np.ndarray
    sigma: np.ndarray
    solarize: np.ndarray

    @staticmethod
    def join(parts: list[CropDraw]) -> CropDraw:
        """Concatenate crops of one size along M."""
        names = [f.name for f in fields(CropDraw) if f.name != 'size']
        arrays = {n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
        return CropDraw(size=parts[0].size, **arrays)


@dataclass(frozen=True)
class CropRule:
    """How one kind of crop is drawn.

    Attributes:
        size: (height, width) of the result.
        area: share of the image's area that a crop covers.
        aspect: range of a crop's width / height.
        augment: flip and colors.
    """

    size: Size
    area: tuple[float, float]
    aspect: tuple[float, float]
    augment: Augment

    @property
    def count(self) -> int:
        """Uniform numbers of one crop."""
        return boxes.NUMBERS + NUMBERS

    def draw(
        self, numbers: np.ndarray, source: np.ndarray, sizes: np.ndarray, pool: bool = False
    ) -> CropDraw:
        """Draw one crop of each image.

        Args:
            numbers: (M, count) uniform.
            source: (M,) position of each image.
            sizes: (N, 2) original sizes of the images that ``source`` points to.
            pool: whether these are the pool's.
        """
        original = sizes[source]
        drawn = boxes.draw_boxes(numbers[:, : boxes.NUMBERS], original, self.area, self.aspect)
        return CropDraw(
            size=self.size,
            source=source,
            original=original,
            pool=np.full(len(source), pool),
            box=drawn,
            **self.augment.draw(numbers[:, boxes.NUMBERS :]),
        )
