"""Features that need no network: what a learned feature must beat.

Both describe an image for a cosine comparison and read the same normalized images as an
encoder, so that they take its place in an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saip.structures import EncoderOutput

HSV_BINS = (12, 4, 4)
STRIPES = 6
COARSE_GRID = (16, 8)


def rgb_to_hsv(images: Tensor) -> Tensor:
    """Convert (B, 3, H, W) RGB in [0, 1] to hue, saturation and value in [0, 1].

    Hue and saturation of gray are 0.
    """
    red, green, blue = images.unbind(dim=1)
    value, top = images.max(dim=1)
    spread = value - images.amin(dim=1)
    safe = spread.clamp(min=torch.finfo(images.dtype).tiny)
    sectors = torch.stack(
        [(green - blue) / safe, 2 + (blue - red) / safe, 4 + (red - green) / safe]
    )
    hue = sectors.gather(0, top[None])[0].remainder(6) / 6
    gray = spread == 0
    saturation = spread / value.clamp(min=torch.finfo(images.dtype).tiny)
    return torch.stack([hue.masked_fill(gray, 0), saturation, value], dim=1)


def color_histogram(
    images: Tensor, stripes: int = STRIPES, bins: Sequence[int] = HSV_BINS
) -> Tensor:
    """Describe images by a joint HSV histogram in each of several horizontal stripes.

    Each stripe's histogram is divided by its sum and the root taken, so that the inner product
    of two descriptions is the Bhattacharyya coefficient, averaged over stripes.

    Args:
        images: (B, 3, H, W) uint8 RGB, H at least ``stripes``.
        stripes: number of horizontal stripes of (nearly) equal height.
        bins: number of bins of hue, saturation and value.

    Returns:
        (B, stripes * bins) float32 of unit l2 norm.
    """
    batch, _, height, _ = images.shape
    hsv = rgb_to_hsv(images.float() / 255)
    cell = torch.zeros(batch, *images.shape[2:], dtype=torch.long, device=images.device)
    for channel, count in enumerate(bins):
        level = (hsv[:, channel] * count).long().clamp(max=count - 1)
        cell = cell * count + level
    size = int(torch.tensor(bins).prod())
    rows = torch.arange(height, device=images.device) * stripes // height
    offset = torch.arange(batch, device=images.device)[:, None] * stripes + rows
    index = (offset[:, :, None] * size + cell).flatten()
    counts = torch.bincount(index, minlength=batch * stripes * size)
    shares = counts.view(batch, stripes, size).float()
    shares = shares / shares.sum(dim=2, keepdim=True) / stripes
    return shares.sqrt().flatten(1)


def coarse_pixels(images: Tensor, grid: tuple[int, int] = COARSE_GRID) -> Tensor:
    """Describe images by the mean colors of a coarse grid, centered on middle gray.

    Args:
        images: (B, 3, H, W) uint8 RGB.
        grid: (h, w) cells.

    Returns:
        (B, 3 * h * w) float32 of unit l2 norm.
    """
    cells = F.adaptive_avg_pool2d(images.float() / 127.5 - 1, grid)
    return F.normalize(cells.flatten(1), dim=1)


class _Baseline(nn.Module):
    """A description of pixels in the place of an encoder.

    Args:
        mean: (3,) of the images' normalization, in gray levels 0 to 255.
        std: (3,) of the images' normalization, in gray levels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32).view(3, 1, 1))

    def describe(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to (B, D)."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> EncoderOutput:
        """Describe normalized (B, 3, H, W) images; the description is the image token."""
        pixels = (images.float() * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)
        return EncoderOutput(self.describe(pixels), None, (1, 1))


class ColorHistogram(_Baseline):
    """:func:`color_histogram` in the place of an encoder."""

    def describe(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to (B, D)."""
        return color_histogram(images)


class CoarsePixels(_Baseline):
    """:func:`coarse_pixels` in the place of an encoder."""

    def describe(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 to (B, D)."""
        return coarse_pixels(images)
