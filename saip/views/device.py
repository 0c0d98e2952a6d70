"""The batched renderer: tensors on the device of the canvas, no host synchronization."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saip.views import color
from saip.views.crop_draw import CropDraw
from saip.views.ops import Paste, RenderOps, cut_to_patches
from saip.views.paste import offsets, offsets_inside, paste
from saip.views.resample import (
    apply_separable,
    blur_kernels,
    blur_taps,
    blur_weights,
    crop_taps,
    crop_weights,
    tap_count,
)
from saip.views.sizes import Size, fraction, whole_patches
from saip.views.upload import upload
from saip.views.ways import takes_cpu_way


class DeviceOps(RenderOps):
    """Whole batches: images are (V, 3, h, w) float32, 0..255, on the device.

    Args:
        mean: (3, 1, 1) of the normalization, in gray levels.
        std: (3, 1, 1) of the normalization, in gray levels.
        resize_mode: see :class:`RenderOps`.
    """

    def __init__(self, mean: Tensor, std: Tensor, resize_mode: str = 'bilinear') -> None:
        super().__init__(mean, std, resize_mode)
        self._scale = 1 / std
        self._shift = -mean / std

    def cut(
        self, crops: Mapping[Hashable, CropDraw], canvas: Tensor, pool: Tensor | None
    ) -> dict[Hashable, Tensor]:
        """Cut the crops of one size together."""
        crops, canvas = self._with_pool(crops, canvas, pool)
        # Rows outermost, so that the products along rows act on all channels at once.
        rows_outermost = canvas.permute(0, 2, 1, 3)
        images = rows_outermost.to(torch.float32, memory_format=torch.contiguous_format)
        by_size: dict[Size, list[Hashable]] = {}
        for key, crop in crops.items():
            by_size.setdefault(crop.size, []).append(key)
        cut: dict[Hashable, Tensor] = {}
        for keys in by_size.values():
            members = [crops[key] for key in keys]
            parts = self.render_crops(CropDraw.join(members), images)
            cut.update(zip(keys, parts.split([len(m.source) for m in members]), strict=True))
        return cut

    def _with_pool(
        self, crops: Mapping[Hashable, CropDraw], canvas: Tensor, pool: Tensor | None
    ) -> tuple[Mapping[Hashable, CropDraw], Tensor]:
        """Append what is cut from the pool to the canvases, and point the crops there."""
        pooled = {key: crop for key, crop in crops.items() if crop.pool.any()}
        if not pooled or pool is None:
            return crops, canvas
        chosen, moved, first = [], {}, len(canvas)
        for key, crop in pooled.items():
            chosen.append(crop.source)
            moved[key] = replace(crop, source=first + np.arange(len(crop.source)))
            first += len(crop.source)
        (source,) = self.upload([np.concatenate(chosen)])
        return {**crops, **moved}, torch.cat([canvas, pool[source]])

    def resize(self, images: Tensor, size: Size) -> Tensor:
        """See :func:`resize`."""
        return resize(images, size, self.resize_mode)

    def paste(self, scene: Tensor, pastes: list[Tensor], where: Paste) -> Tensor:
        """Paste one kind after the other, turn by turn."""
        scene = scene.contiguous()
        numbers: list[int] = []
        places: list[np.ndarray] = []
        for turn in where.order.T:
            for number in range(len(pastes)):
                found = np.flatnonzero(turn == number)
                if len(found):
                    begin = offsets(found, where.corners[found, number], tuple(scene.shape))
                    numbers.append(number)
                    places.append(np.stack([found, begin]))
        inside = [self.run(offsets_inside, images, scene) for images in pastes]
        for number, place in zip(numbers, self.upload(places), strict=True):
            rows, corner = place.unbind()
            paste(scene, pastes[number], rows, corner, inside[number], where.alpha)
        return scene

    def pick(self, images: Tensor, source: Tensor) -> Tensor:
        """Index."""
        return images[source]

    def separate(self, images: list[Tensor], others: list[Tensor]) -> list[Tensor]:
        """Copy images that overlap: a view type of a user may return a part of another's."""
        spans = [_span(x) for x in [*images, *others]]
        return [
            x.clone()
            if any(_overlap(spans[i], s) for j, s in enumerate(spans) if j != i)
            else x
            for i, x in enumerate(images)
        ]

    def finish(self, images: Tensor) -> Tensor:
        """Normalize in place: nothing else reads the images afterwards."""
        return color.spread(images, self._scale, self._shift)

    def render_crops(self, crops: CropDraw, images: Tensor) -> Tensor:
        """Crop, flip and color V crops of one size.

        Args:
            crops: V draws; V is a multiple of B, and B consecutive ones make one kind.
            images: (B, Hc, 3, Wc) float, 0..255.

        Returns:
            (V, 3, h, w) float, 0..255.
        """
        sparse = takes_cpu_way(images)
        weigh = partial(self.run, crop_weights)
        images = cut(crops, images, sparse, weigh).round_().clamp_(0, 255)
        if crops.jitter.any():
            images = self._jitter(crops, images)
        gray, blur = np.flatnonzero(crops.gray), np.flatnonzero(crops.sigma)
        solar = np.flatnonzero(crops.solarize)
        grayed, blurred, inverted = self.upload([gray, blur, solar])
        if len(gray):
            images.index_copy_(0, grayed, color.grayscale(images.index_select(0, grayed)))
        if len(blur):
            (sigma,) = self.upload([crops.sigma[blur]])
            changed = gaussian_blur(images.index_select(0, blurred), sigma, sparse)
            images.index_copy_(0, blurred, changed)
        if len(solar):
            images.index_copy_(0, inverted, color.solarize(images.index_select(0, inverted)))
        return images

    def _jitter(self, crops: CropDraw, images: Tensor) -> Tensor:
        plan = color.JitterPlan.of(crops.jitter, crops.factors, crops.order)
        blends, shift, falls = self.upload([plan.blends, plan.shift, color.HUE_FALLS])
        turned = self.upload(plan.chosen if self.compiles else plan.turned)
        if self.compiles:
            turned = [chosen.bool() for chosen in turned]
        return self.run(color.jitter, images, blends, turned, shift, falls)


def _span(x: Tensor) -> tuple[int, int]:
    """First and last address that a tensor may read."""
    last = sum((side - 1) * stride for side, stride in zip(x.shape, x.stride(), strict=True))
    return x.data_ptr(), x.data_ptr() + last * x.element_size()


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def resize(images: Tensor, size: Size, mode: str) -> Tensor:
    """Resize (V, 3, h, w) by ``bilinear`` (antialiased) or ``nearest`` interpolation."""
    if images.shape[-2:] == size:
        return images
    if mode == 'nearest':
        return F.interpolate(images, size=size, mode='nearest')
    if not takes_cpu_way(images):
        return F.interpolate(images, size=size, mode='bilinear', antialias=True)
    # On a CPU torch's kernel takes more than twice the time of the products.
    sides = zip(images.shape[-2:], size, strict=True)
    rows, columns = (_bilinear(length, out, images.dtype) for length, out in sides)
    return rows @ (images @ columns.T)


@lru_cache
def _bilinear(length: int, out: int, dtype: torch.dtype) -> Tensor:
    """The matrix (out, length) of torch's antialiased interpolation of one side, on the CPU."""
    identity = torch.eye(length, dtype=dtype, device='cpu')[None, None]
    shape = (out, length)
    return F.interpolate(identity, size=shape, mode='bilinear', antialias=True)[0, 0]


def rescale(images: Tensor, scale: float, mode: str, patch: int) -> Tensor:
    """Resize (V, 3, h, w) by a factor to whole patches.

    With ``nearest`` what is left over at the end is cut off, as in the method's first release;
    otherwise the size is rounded.
    """
    height, width = images.shape[-2:]
    factor = fraction(scale)
    if mode == 'nearest':
        resized = resize(images, (int(height * factor), int(width * factor)), mode)
        return cut_to_patches(resized, patch)
    return resize(images, whole_patches((height, width), scale, patch), mode)


def cut(
    crops: CropDraw,
    images: Tensor,
    sparse: bool,
    weigh: Callable[..., Tensor] = crop_weights,
) -> Tensor:
    """Crop, resize and flip, see :meth:`DeviceOps.render_crops`; values are not yet clamped.

    ``sparse`` chooses how the products along rows are computed, not what they are; ``weigh`` is
    ``crop_weights``, compiled or not.
    """
    batch, height, _, width = images.shape
    device, size = images.device, crops.size
    scale = np.array([height, width]) / crops.original
    start = crops.box[:, :2] * scale
    stop = start + crops.box[:, 2:] * scale
    y0, x0, y1, x1 = upload([*start.T, *stop.T], device)
    source, flip = upload([crops.source, crops.flip.astype(np.int64)], device)
    columns = weigh(x0, x1, size[1], width, flip.bool())
    if sparse:
        count = tap_count(float((stop - start)[:, 0].max() / size[0]))
        taps = crop_taps(y0, y1, size[0], height, count)
        return apply_separable(images, source, taps, columns, size)
    rows = weigh(y0, y1, size[0], height)
    own = np.arange(batch)
    if np.array_equal(crops.source, np.tile(own, len(crops.source) // batch)):
        return apply_separable(images, None, rows, columns, size)
    parts = []
    for i in range(0, len(crops.source), batch):
        part = slice(i, i + batch)
        # Views of the images themselves need no copy of them.
        picked = None if np.array_equal(crops.source[part], own) else source[part]
        parts.append(apply_separable(images, picked, rows[part], columns[part], size))
    return torch.cat(parts)


def gaussian_blur(images: Tensor, sigma: Tensor, sparse: bool) -> Tensor:
    """Gaussian blur of (V, 3, h, w) with ``sigma`` (V,) in pixels."""
    size = (images.shape[2], images.shape[3])
    kernels = blur_kernels(sigma)
    rows = blur_taps(kernels, size[0]) if sparse else blur_weights(kernels, size[0])
    columns = blur_weights(kernels, size[1])
    return apply_separable(images.permute(0, 2, 1, 3), None, rows, columns, size)
