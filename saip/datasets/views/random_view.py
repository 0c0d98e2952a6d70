"""Draws of the views that are cut from a picture at random: crop, flip and colours."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from saip.datasets.views import crops
from saip.datasets.views.random import uniforms, within
from saip.datasets.views.recipe import CropRecipe, JitterRecipe, Recipe
from saip.datasets.views.sizes import aspect_range

BLUR_SIGMAS = (0.1, 2.0)
COLOUR_OPS = ('brightness', 'contrast', 'saturation', 'hue')
_NUMBERS = crops.NUMBERS + 2 + 2 * len(COLOUR_OPS) + 4


@dataclass(frozen=True)
class RandomView:
    """Draws of M views that are cut from pictures.

    Attributes:
        source: (M,) position in the batch of the picture.
        box: (M, 4) top, left, height, width in the original picture's pixels.
        flip: (M,) bool, mirrored left to right.
        jitter: (M,) bool, whether the colour operations apply.
        factors: (M, 4) of brightness, contrast, saturation and hue.
        order: (M, 4) indices into these four, in the order of application.
        gray: (M,) bool.
        sigma: (M,) of the Gaussian blur in pixels of the view; 0 for none.
        solarize: (M,) bool.
    """

    source: np.ndarray
    box: np.ndarray
    flip: np.ndarray
    jitter: np.ndarray
    factors: np.ndarray
    order: np.ndarray
    gray: np.ndarray
    sigma: np.ndarray
    solarize: np.ndarray

    @staticmethod
    def join(parts: list[RandomView]) -> RandomView:
        """Concatenate along M."""
        names = [f.name for f in fields(RandomView)]
        return RandomView(
            **{n: np.concatenate([getattr(part, n) for part in parts]) for n in names}
        )


def draw_random_view(
    recipe: Recipe,
    crop: CropRecipe,
    stream: str,
    keys: np.ndarray,
    source: np.ndarray,
    sizes: np.ndarray,
    seed: int,
    epoch: int,
) -> RandomView:
    """Draw one view of each picture.

    Args:
        recipe: colour and flip probabilities, and the anchor's shape.
        crop: area, aspect, blur and solarisation of this view.
        stream: names the view, so that two views never share numbers.
        keys: (B,) keys of the draws.
        source: (B,) position in the batch of the picture that each view is cut from.
        sizes: (B, 2) original sizes of the batch's pictures.
        seed: of the run.
        epoch: keys the draws.
    """
    numbers = uniforms(seed, stream, keys, epoch, _NUMBERS)
    aspect = aspect_range(recipe.size, crop.aspect)
    box = crops.draw_boxes(numbers[:, : crops.NUMBERS], sizes[source], crop.area, aspect)
    flip, jitter, *rest = numbers[:, crops.NUMBERS :].T
    factors, order = np.stack(rest[:4], 1), np.stack(rest[4:8], 1)
    gray, blur, sigma, solarize = rest[8:]
    return RandomView(
        source=source,
        box=box,
        flip=flip < recipe.flip,
        jitter=jitter < recipe.jitter.probability,
        factors=_factors(recipe.jitter, factors),
        order=np.argsort(order, axis=1, kind='stable'),
        gray=gray < recipe.gray,
        sigma=np.where(blur < crop.blur, within(sigma, *BLUR_SIGMAS), 0.0),
        solarize=solarize < crop.solarize,
    )


def _factors(jitter: JitterRecipe, numbers: np.ndarray) -> np.ndarray:
    strengths = np.array([getattr(jitter, op) for op in COLOUR_OPS])
    centres = np.array([1.0, 1.0, 1.0, 0.0])
    return np.maximum(centres + (2 * numbers - 1) * strengths, centres - 1)
