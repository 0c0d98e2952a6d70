"""Color operations on batches of images in gray levels, with Pillow's meaning.

Every function takes (V, 3, h, w) float in [0, 255] and factors (V,), one per image, and
returns a new tensor. Results are clamped, not rounded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def luminance(images: Tensor) -> Tensor:
    """ITU-R 601 luma, (V, 1, h, w)."""
    red, green, blue = images.unbind(1)
    return (red * 0.299 + green * 0.587 + blue * 0.114).unsqueeze(1)


def grayscale(images: Tensor) -> Tensor:
    """Luminance in all three channels."""
    return luminance(images).expand_as(images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return (images * factor[:, None, None, None]).clamp_(0, 255)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the rounded mean of the luminance."""
    factor = factor[:, None, None, None]
    mean = luminance(images).mean(dim=(2, 3), keepdim=True).add_(0.5).floor_()
    return torch.addcmul(mean * (1 - factor), images, factor).clamp_(0, 255)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luminance."""
    factor = factor[:, None, None, None]
    return torch.addcmul(luminance(images) * (1 - factor), images, factor).clamp_(0, 255)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the color circle of HSV by ``shift`` of its length."""
    red, green, blue = images.unbind(1)
    value, lowest = images.amax(1), images.amin(1)
    chroma = value - lowest
    safe = chroma.clamp(min=1e-6)
    angle = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    angle = torch.remainder(angle.add_(6 * shift[:, None, None]), 6.0)
    # How far each channel falls from the value towards the lowest, as a share of the chroma.
    falls = (2 - (angle - 3).abs_(), (angle - 2).abs_() - 1, (angle - 4).abs_() - 1)
    turned = [torch.addcmul(value, chroma, fall.clamp_(0, 1), value=-1) for fall in falls]
    return torch.stack(turned, dim=1)


def solarize(images: Tensor) -> Tensor:
    """Invert gray levels of 128 and above."""
    # 127 stays and 128 becomes 127: the smaller of a level and its inverse.
    return torch.minimum(images, 255 - images)


ADJUSTMENTS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    brightness,
    contrast,
    saturation,
    hue,
)


def jitter(images: Tensor, factors: Tensor, positions: list[list[Tensor]]) -> Tensor:
    """Apply the four adjustments in each image's own order, in place.

    Args:
        images: (V, 3, h, w).
        factors: (V, 4) for the adjustments in the order of ``ADJUSTMENTS``.
        positions: for each of the four places in the order, for each adjustment, the indices of
            the images that have it there.
    """
    for groups in positions:
        for op, (adjust, index) in enumerate(zip(ADJUSTMENTS, groups, strict=True)):
            if len(index):
                changed = adjust(images.index_select(0, index), factors[index, op])
                images.index_copy_(0, index, changed)
    return images
