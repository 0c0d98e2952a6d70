"""Crop, resize, flip and blur of a batch as sparse matrix products along rows and columns.

``view = R_h @ image @ R_w^T`` per image, as two batched products. On a CPU the first one
multiplies only the few non-zero taps of each row, which takes a fraction of the time; along
columns that would need a transposition that costs as much as the dense product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.views.sizes import Size

BLUR_RADIUS = 6


@dataclass(frozen=True)
class Taps:
    """A batch of sparse matrices (V, out, in): row r sums ``weight[:, r]`` at ``index[:, r]``.

    Both are (V, out, T).
    """

    index: Tensor
    weight: Tensor


def crop_weights(
    start: Tensor, stop: Tensor, out: int, size: int, flip: Tensor | None = None
) -> Tensor:
    """Dense matrices that cut [start, stop) and resize it by Pillow's bicubic filter.

    The filter has a = -0.5 and widens with the reduction; taps outside the image (not the
    box) are dropped and the rest normalized, as ``Image.resize(box=...)`` does.

    Args:
        start: (V,) first edge in pixels of the source, may be fractional.
        stop: (V,) last edge.
        out: length of the result.
        size: length of the source.
        flip: (V,) bool, whether the result is reversed; None for nowhere.

    Returns:
        (V, out, size)
    """
    center, stretch = _crop_centers(start, stop, out, flip)
    index = torch.arange(size, device=start.device)[None, None]
    return _crop_values(index, center, stretch, size)


def crop_taps(start: Tensor, stop: Tensor, out: int, size: int, count: int) -> Taps:
    """The matrices of :func:`crop_weights` as ``count`` taps per row (:func:`tap_count`)."""
    center, stretch = _crop_centers(start, stop, out, None)
    first = torch.floor(center - 2 * stretch + 0.5).long()
    index = first + torch.arange(count, device=start.device)
    return Taps(index.clamp(0, size - 1), _crop_values(index, center, stretch, size))


def _crop_centers(
    start: Tensor, stop: Tensor, out: int, flip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Where each row's filter is centered (V, out, 1), and how much it is widened (V, 1, 1)."""
    scale = ((stop - start) / out)[:, None, None]
    position = torch.arange(out, device=start.device).expand(len(start), out)
    if flip is not None:
        position = torch.where(flip[:, None], out - 1 - position, position)
    center = start[:, None, None] + (position[:, :, None] + 0.5) * scale
    return center, scale.clamp(min=1.0)


def _crop_values(index: Tensor, center: Tensor, stretch: Tensor, size: int) -> Tensor:
    weight = _bicubic((index + 0.5 - center) / stretch)
    weight = weight * ((index >= 0) & (index < size))
    return weight / weight.sum(dim=-1, keepdim=True)


def tap_count(reduction: float) -> int:
    """Taps that a row needs when ``reduction`` source pixels make one."""
    return math.ceil(4 * max(1.0, reduction)) + 1


def blur_weights(sigma: Tensor, size: int) -> Tensor:
    """Dense matrices (V, size, size) of a Gaussian with the edge pixel repeated outside.

    Args:
        sigma: (V,) in pixels, at most a third of ``BLUR_RADIUS``.
        size: length of the image's side.
    """
    kernel = _gaussian(sigma)
    rows = torch.arange(size, device=sigma.device)
    place = torch.arange(size + 2 * BLUR_RADIUS, device=sigma.device) - rows[:, None]
    inside = (place >= 0) & (place < kernel.shape[1])
    padded = kernel[:, place.clamp(0, kernel.shape[1] - 1)] * inside
    matrix = padded[..., BLUR_RADIUS:-BLUR_RADIUS].clone()
    matrix[..., 0] += padded[..., :BLUR_RADIUS].sum(-1)
    matrix[..., -1] += padded[..., -BLUR_RADIUS:].sum(-1)
    return matrix


def blur_taps(sigma: Tensor, size: int) -> Taps:
    """The matrices of :func:`blur_weights` as taps."""
    offset = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=sigma.device)
    rows = torch.arange(size, device=sigma.device)
    index = (rows[:, None] + offset).clamp(0, size - 1).expand(len(sigma), -1, -1)
    return Taps(index, _gaussian(sigma)[:, None].expand(-1, size, -1))


def _gaussian(sigma: Tensor) -> Tensor:
    offset = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=sigma.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    return kernel / kernel.sum(dim=1, keepdim=True)


def apply_separable(
    images: Tensor, source: Tensor | None, rows: Taps | Tensor, columns: Tensor, out: Size
) -> Tensor:
    """Multiply every image by its row and column matrices.

    Args:
        images: (B, h, 3, w) float, rows outermost.
        source: (V,) which image each view is made of; None takes them in order (V = B).
        rows: V matrices (out_h, h), dense or as taps.
        columns: V matrices (out_w, w).
        out: (out_h, out_w).

    Returns:
        (V, 3, out_h, out_w)
    """
    height, channels, width = images.shape[1:]
    if isinstance(rows, Taps):
        tall = _sum_rows(images.reshape(-1, channels * width), height, rows, source)
    else:
        picked = images if source is None else images.index_select(0, source)
        tall = torch.bmm(rows, picked.reshape(-1, height, channels * width))
    wide = torch.bmm(tall.view(-1, out[0] * channels, width), columns.transpose(1, 2))
    return wide.view(-1, out[0], channels, out[1]).permute(0, 2, 1, 3).contiguous()


def _sum_rows(table: Tensor, height: int, taps: Taps, source: Tensor | None) -> Tensor:
    image = torch.arange(len(taps.index)) if source is None else source
    index = (taps.index + (image * height)[:, None, None]).flatten(0, 1)
    weight = taps.weight.flatten(0, 1)
    return F.embedding_bag(index, table, per_sample_weights=weight, mode='sum')


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
