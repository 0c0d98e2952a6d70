"""Crop, resize, flip and blur of a batch as sparse matrix products along rows and columns.

``view = R_h @ image @ R_w^T`` per image, as two batched products. On a CPU the first one
multiplies only the few non-zero taps of each row, which takes a fraction of the time; along
columns that would need a transposition that costs as much as the dense product.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

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
    weight = _bicubic((_middles(size, start) - center).div_(stretch))
    return weight.div_(weight.sum(dim=-1, keepdim=True))


def crop_taps(start: Tensor, stop: Tensor, out: int, size: int, count: int) -> Taps:
    """The matrices of :func:`crop_weights` as ``count`` taps per row (:func:`tap_count`)."""
    center, stretch = _crop_centers(start, stop, out, None)
    first = torch.floor(center - 2 * stretch + 0.5)
    index = first + torch.arange(count, device=start.device)
    weight = _bicubic((index + 0.5 - center).div_(stretch))
    inside = index.clamp(0, size - 1)
    weight.mul_(inside == index)
    return Taps(inside.long(), weight.div_(weight.sum(dim=-1, keepdim=True)))


def _middles(length: int, like: Tensor) -> Tensor:
    """Middles of pixels: 0.5, 1.5, ..., (length,)."""
    return torch.arange(0.5, length, device=like.device, dtype=like.dtype)


def _crop_centers(
    start: Tensor, stop: Tensor, out: int, flip: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Where each row's filter is centered (V, out, 1), and how much it is widened (V, 1, 1)."""
    scale = ((stop - start) / out)[:, None, None]
    position = _middles(out, start)[:, None]
    if flip is not None:
        position = torch.where(flip[:, None, None], out - position, position)
    return (position * scale).add_(start[:, None, None]), scale.clamp(min=1.0)


def tap_count(reduction: float) -> int:
    """Taps that a row needs when ``reduction`` source pixels make one."""
    return math.ceil(4 * max(1.0, reduction)) + 1


def blur_kernels(sigma: Tensor) -> Tensor:
    """Gaussians (V, 2 * BLUR_RADIUS + 1) that add up to 1.

    Args:
        sigma: (V,) in pixels, at most a third of ``BLUR_RADIUS``.
    """
    kernels = torch.exp(_offsets(sigma).div(sigma[:, None]).square_().mul_(-0.5))
    return kernels.div_(kernels.sum(dim=1, keepdim=True))


def blur_weights(kernels: Tensor, size: int) -> Tensor:
    """Dense matrices (V, size, size) that convolve, with the edge pixel repeated outside.

    Args:
        kernels: (V, 2 * BLUR_RADIUS + 1), see :func:`blur_kernels`.
        size: length of the image's side.
    """
    return (kernels @ _tap_places(size, kernels.device, kernels.dtype)).view(-1, size, size)


@lru_cache
def _tap_places(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(taps, size * size), 1 where tap t of row r falls on column c."""
    rows = torch.arange(size, device=device)
    offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=device)
    place = (rows + offsets[:, None]).clamp(0, size - 1)
    return (place[..., None] == rows).to(dtype).flatten(1)


def blur_taps(kernels: Tensor, size: int) -> Taps:
    """The matrices of :func:`blur_weights` as taps."""
    index = torch.arange(size, device=kernels.device)[:, None] + _offsets(kernels).long()
    shape = (len(kernels), *index.shape)
    return Taps(index.clamp_(0, size - 1).expand(shape), kernels[:, None].expand(shape))


def _offsets(like: Tensor) -> Tensor:
    return torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=like.device, dtype=like.dtype)


def apply_separable(
    images: Tensor, source: Tensor | None, rows: Taps | Tensor, columns: Tensor, out: Size
) -> Tensor:
    """Multiply every image by its row and column matrices.

    Args:
        images: (B, h, 3, w) float, rows outermost.
        source: (V,) which image each view is made of; None takes them in order, V / B views of
            each: views 0, B, 2 B and so on are of image 0.
        rows: V matrices (out_h, h), dense or as taps.
        columns: V matrices (out_w, w).
        out: (out_h, out_w).

    Returns:
        (V, 3, out_h, out_w)
    """
    height, channels, width = images.shape[1:]
    count = len(columns)
    if isinstance(rows, Taps):
        tall = _sum_rows(images.reshape(-1, channels * width), height, rows, source)
        kinds = 1
    else:
        # All kinds of one image in one product, one below the other: no copies of the image.
        picked = images if source is None else images.index_select(0, source)
        kinds = count // len(picked)
        stacked = _by_image(rows, kinds).reshape(len(picked), kinds * out[0], height)
        tall = torch.bmm(stacked, picked.reshape(-1, height, channels * width))
        columns = _by_image(columns, kinds).flatten(0, 1)
    wide = torch.bmm(tall.view(count, out[0] * channels, width), columns.transpose(1, 2))
    by_kind = wide.view(-1, kinds, out[0], channels, out[1]).transpose(0, 1)
    return by_kind.permute(0, 1, 3, 2, 4).reshape(count, channels, *out)


def _by_image(matrices: Tensor, kinds: int) -> Tensor:
    """(V, ...) with the kind outermost -> (V / kinds, kinds, ...)."""
    return matrices.unflatten(0, (kinds, -1)).transpose(0, 1)


def _sum_rows(table: Tensor, height: int, taps: Taps, source: Tensor | None) -> Tensor:
    if source is None:
        source = torch.arange(len(taps.index)).remainder_(len(table) // height)
    index = (taps.index + (source * height)[:, None, None]).flatten(0, 1)
    weight = taps.weight.flatten(0, 1)
    return F.embedding_bag(index, table, per_sample_weights=weight, mode='sum')


def _bicubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5; changes ``x``."""
    x = x.abs_().clamp_(max=2)  # where the outer polynomial is exactly 0
    near = (1.5 * x).sub_(2.5).mul_(x).mul_(x).add_(1)
    far = (-0.5 * x).add_(2.5).mul_(x).sub_(4).mul_(x).add_(2)
    return torch.where(x < 1, near, far)
