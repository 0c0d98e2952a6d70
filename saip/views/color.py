"""Color operations on batches of images in gray levels, with Pillow's meaning.

Images are (V, 3, h, w) float in [0, 255]. Results are clamped, not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saip.views.augment import COLOR_OPS
from saip.views.ways import takes_cpu_way

CONTRAST, SATURATION, HUE = (COLOR_OPS.index(op) for op in ('contrast', 'saturation', 'hue'))

# How far a channel falls from the value towards the lowest one, as a share of the chroma, is
# sign * |angle - center| + offset, clamped to [0, 1]: centers, signs and offsets of R, G, B.
HUE_FALLS = np.array([[3.0, 2, 4], [-1, 1, 1], [2, -1, -1]])


def luminance(images: Tensor) -> Tensor:
    """ITU-R 601 luma, (V, 1, h, w)."""
    red, green, blue = images.split(1, 1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def grayscale(images: Tensor) -> Tensor:
    """Luminance in all three channels."""
    return luminance(images).expand_as(images)


def spread(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """``factor * x + shift``, in place; both are spread over the pixels of ``x``."""
    # One kernel on a GPU. On a CPU addcmul is not vectorized where both operands are spread over
    # the pixels, and takes twice the time of two passes that are.
    if takes_cpu_way(x):
        return x.mul_(factor).add_(shift)
    return torch.addcmul(shift, x, factor, out=x)


def blend(images: Tensor, factor: Tensor, of_mean: Tensor, of_luminance: Tensor) -> Tensor:
    """Brightness, contrast or saturation of every image, in place.

    All three blend an image with something: black, the rounded mean of its luminance, or its
    luminance. So images with different operations share one pass, each with its own weights.

    Args:
        images: (V, 3, h, w).
        factor: (V,) weight of the image; 1 for an image that stays as it is.
        of_mean: (V,) weight of the mean.
        of_luminance: (V,) weight of the luminance.
    """
    factor, of_mean, of_luminance = (
        x[:, None, None, None] for x in (factor, of_mean, of_luminance)
    )
    luma = luminance(images)
    mean = luma.mean(dim=(2, 3), keepdim=True).add_(0.5).floor_()
    base = spread(luma, of_luminance, mean * of_mean)
    return torch.addcmul(base, images, factor, out=images).clamp_(0, 255)


def hue(images: Tensor, shift: Tensor, falls: Tensor) -> Tensor:
    """Turn the color circle of HSV; returns a new tensor.

    Args:
        images: (V, 3, h, w).
        shift: (V,) share of the circle.
        falls: ``HUE_FALLS`` on the device.
    """
    red, green, blue = images.unbind(1)
    value, lowest = images.amax(1), images.amin(1)
    chroma = value - lowest
    is_red, is_green = value == red, value == green
    other = torch.where(is_green, blue - red, red - green)
    sextant = torch.full_like(value, 4).masked_fill_(is_green, 2).masked_fill_(is_red, 0)
    angle = torch.addcdiv(
        sextant, torch.where(is_red, green - blue, other), chroma.clamp(min=1e-6)
    )
    angle = angle.add_(6 * shift[:, None, None]).remainder_(6.0)
    center, sign, offset = falls[:, :, None, None].unbind(0)
    fall = spread((angle[:, None] - center).abs_(), sign, offset).clamp_(0, 1)
    return torch.addcmul(value[:, None], chroma[:, None], fall, value=-1)


def solarize(images: Tensor) -> Tensor:
    """Invert gray levels of 128 and above."""
    # 127 stays and 128 becomes 127: the smaller of a level and its inverse.
    return torch.minimum(images, 255 - images)


@dataclass(frozen=True)
class JitterPlan:
    """Color jitter of V images as passes over all of them.

    The hue is turned before the first, second or third blend, or after it, of those images whose
    order of operations says so.

    Attributes:
        blends: for each of the three passes (3, V) ``factor, of_mean, of_luminance`` of
            :func:`blend`.
        turned: for each of the four places of the hue the indices of its images.
        shift: (V,) of the hue.
    """

    blends: np.ndarray
    turned: Sequence[np.ndarray]
    shift: np.ndarray

    @property
    def chosen(self) -> list[np.ndarray]:
        """``turned`` as one (V,) array of zeros and ones per place."""
        places = np.zeros((len(self.turned), len(self.shift)), dtype=np.int64)
        for place, rows in zip(places, self.turned, strict=True):
            place[rows] = 1
        return list(places)

    @staticmethod
    def of(jitter: np.ndarray, factors: np.ndarray, order: np.ndarray) -> JitterPlan:
        """Sort the draws of :class:`saip.views.crop_draw.CropDraw`."""
        kinds = order[order != HUE].reshape(len(order), len(COLOR_OPS) - 1)
        # Rounded first: what is left for the other image is then exact.
        factors = factors.astype(np.float32)
        factor = np.where(jitter[:, None], np.take_along_axis(factors, kinds, 1), np.float32(1))
        rest = 1 - factor
        weights = factor, rest * (kinds == CONTRAST), rest * (kinds == SATURATION)
        before = np.argmax(order == HUE, axis=1)
        turned = [np.flatnonzero(jitter & (before == n)) for n in range(len(COLOR_OPS))]
        return JitterPlan(np.stack(weights).transpose(2, 0, 1), turned, factors[:, HUE])


def jitter(
    images: Tensor, blends: Tensor, turned: Sequence[Tensor], shift: Tensor, falls: Tensor
) -> Tensor:
    """Adjust every image in its own order, in place.

    Args:
        images: (V, 3, h, w).
        blends: (3, 3, V), see :class:`JitterPlan`.
        turned: for each place of the hue the indices of its images; or (V,) bools, with which the
            hue of all is computed at every place: more work, but one kernel where it is compiled.
        shift: (V,).
        falls: see :func:`hue`.
    """
    for place, rows in enumerate(turned):
        if rows.dtype == torch.bool:
            images = torch.where(rows[:, None, None, None], hue(images, shift, falls), images)
        elif len(rows):
            changed = hue(images.index_select(0, rows), shift[rows], falls)
            images.index_copy_(0, rows, changed)
        if place < len(blends):
            images = blend(images, *blends[place])
    return images
