"""The batched renderer: tensors on the device of the canvas, no host synchronisation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saip.datasets.views import color
from saip.datasets.views.base import Renderer, cut_to_patches
from saip.datasets.views.layout import SceneDraw
from saip.datasets.views.plan import ViewPlan
from saip.datasets.views.random_view import RandomView
from saip.datasets.views.recipe import Size
from saip.datasets.views.resample import (
    apply_separable,
    blur_taps,
    blur_weights,
    crop_taps,
    crop_weights,
    tap_count,
)
from saip.datasets.views.scene import paste
from saip.datasets.views.sizes import random_view_size, whole_patches
from saip.datasets.views.upload import upload


class DeviceRenderer(Renderer[Tensor]):
    """Renders whole batches; pictures are normalised (V, 3, h, w) float32."""

    def _draw(self, plan: ViewPlan, canvas: Tensor) -> dict[str, Tensor]:
        # Rows outermost, so that the products along rows act on all channels at once.
        pictures = canvas.permute(0, 2, 1, 3).float().contiguous()
        mean, std = upload([np.array(self.mean), np.array(self.std)], canvas.device)
        by_size: dict[Size, list[str]] = {}
        for name in plan.random:
            by_size.setdefault(random_view_size(self.recipe, name), []).append(name)
        drawn: dict[str, Tensor] = {}
        for size, names in by_size.items():
            members = [plan.random[name] for name in names]
            images = draw_random_views(RandomView.join(members), plan.sizes, pictures, size)
            images.sub_(mean[:, None, None]).div_(std[:, None, None])
            parts = images.split([len(m.source) for m in members])
            drawn.update(zip(names, parts, strict=True))
        return drawn

    def _resize(self, pictures: Tensor, size: Size) -> Tensor:
        return resize(pictures, size, self.resize_mode)

    def _paste(
        self, scene: Tensor, pastes: list[Tensor], draw: SceneDraw, alpha: float
    ) -> Tensor:
        scene = scene.contiguous()
        numbers: list[int] = []
        places: list[np.ndarray] = []
        for turn in draw.order.T:
            for number in range(len(pastes)):
                found = np.flatnonzero(turn == number)
                if len(found):
                    numbers.append(number)
                    corners = draw.top[found, number], draw.left[found, number]
                    places.append(np.stack([found, *corners]))
        for number, place in zip(numbers, upload(places, scene.device), strict=True):
            rows, top, left = place.unbind()
            paste(scene, pastes[number], rows, top, left, alpha)
        return scene

    def _pick(self, pictures: Tensor, source: Tensor) -> Tensor:
        return pictures[source]

    def _finish(self, pictures: Tensor, device: torch.device) -> Tensor:
        return pictures


def resize(images: Tensor, size: Size, mode: str) -> Tensor:
    """Resize (V, 3, h, w) by ``bilinear`` (antialiased) or ``nearest`` interpolation."""
    if images.shape[-2:] == size:
        return images
    if mode == 'nearest':
        return F.interpolate(images, size=size, mode='nearest')
    return F.interpolate(images, size=size, mode='bilinear', antialias=True)


def rescale(images: Tensor, eighth: int, mode: str, patch: int) -> Tensor:
    """Resize (V, 3, h, w) by ``eighth`` / 8 to whole patches.

    With ``nearest`` what is left over at the end is cut off, as in the method's first release;
    otherwise the size is rounded.
    """
    height, width = images.shape[-2:]
    if mode == 'nearest':
        resized = resize(images, (height * eighth // 8, width * eighth // 8), mode)
        return cut_to_patches(resized, patch)
    return resize(images, whole_patches((height, width), eighth, patch), mode)


def draw_random_views(
    view: RandomView, sizes: np.ndarray, pictures: Tensor, size: Size
) -> Tensor:
    """Crop, flip and colour V views of one size.

    Args:
        view: draws of the V views; V is a multiple of B, and B consecutive ones make one kind.
        sizes: (B, 2) original sizes.
        pictures: (B, Hc, 3, Wc) float, 0..255.
        size: of the views.

    Returns:
        (V, 3, h, w) float, 0..255.
    """
    sparse = pictures.device.type == 'cpu'
    images = cut(view, sizes, pictures, size, sparse).round_().clamp_(0, 255)
    jittered = [
        np.flatnonzero(view.jitter & (view.order[:, place] == op))
        for place in range(4)
        for op in range(4)
    ]
    gray, blur = np.flatnonzero(view.gray), np.flatnonzero(view.sigma)
    solar = np.flatnonzero(view.solarize)
    # One transfer for all lists of indices, another for all numbers.
    indices = upload([*jittered, gray, blur, solar], images.device)
    factors, sigma = upload([view.factors, view.sigma[blur]], images.device)
    places = [indices[4 * place : 4 * place + 4] for place in range(4)]
    images = color.jitter(images, factors, places)
    if len(gray):
        images.index_copy_(0, indices[16], color.grayscale(images.index_select(0, indices[16])))
    if len(blur):
        images.index_copy_(
            0, indices[17], gaussian_blur(images.index_select(0, indices[17]), sigma, sparse)
        )
    if len(solar):
        images.index_copy_(0, indices[18], color.solarize(images.index_select(0, indices[18])))
    return images


def cut(
    view: RandomView, sizes: np.ndarray, pictures: Tensor, size: Size, sparse: bool
) -> Tensor:
    """Crop, resize and flip, see :func:`draw_random_views`; values are not yet clamped.

    ``sparse`` chooses how the products along rows are computed, not what they are.
    """
    batch, height, _, width = pictures.shape
    device = pictures.device
    scale = np.array([height, width]) / sizes[view.source]
    start = view.box[:, :2] * scale
    stop = start + view.box[:, 2:] * scale
    y0, x0, y1, x1 = upload([*start.T, *stop.T], device)
    source, flip = upload([view.source, view.flip.astype(np.int64)], device)
    columns = crop_weights(x0, x1, size[1], width, flip.bool())
    if sparse:
        count = tap_count(float((stop - start)[:, 0].max() / size[0]))
        taps = crop_taps(y0, y1, size[0], height, count)
        return apply_separable(pictures, source, taps, columns, size)
    rows = crop_weights(y0, y1, size[0], height)
    own = np.arange(batch)
    parts = []
    for i in range(0, len(view.source), batch):
        part = slice(i, i + batch)
        # Views of the pictures themselves need no copy of them.
        picked = None if np.array_equal(view.source[part], own) else source[part]
        parts.append(apply_separable(pictures, picked, rows[part], columns[part], size))
    return torch.cat(parts)


def gaussian_blur(images: Tensor, sigma: Tensor, sparse: bool) -> Tensor:
    """Gaussian blur of (V, 3, h, w) with ``sigma`` (V,) in pixels."""
    size = (images.shape[2], images.shape[3])
    rows = blur_taps(sigma, size[0]) if sparse else blur_weights(sigma, size[0])
    columns = blur_weights(sigma, size[1])
    return apply_separable(images.permute(0, 2, 1, 3), None, rows, columns, size)
