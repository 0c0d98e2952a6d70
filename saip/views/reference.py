"""The reference renderer: the same plan, one image at a time, with Pillow's operations."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from saip.views.crop_draw import CropDraw
from saip.views.ops import Paste, RenderOps
from saip.views.sizes import Size

PilImage = Image.Image


class ReferenceOps(RenderOps):
    """Lists of RGB images of 8 bits; slow, and what the batched renderer is measured by."""

    def cut(
        self, crops: Mapping[Hashable, CropDraw], canvas: Tensor, pool: Tensor | None
    ) -> dict[Hashable, list[PilImage]]:
        """Cut one by one."""
        batch = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in canvas.cpu()]

        def source(crop: CropDraw, i: int) -> PilImage:
            if not crop.pool[i] or pool is None:
                return batch[crop.source[i]]
            return Image.fromarray(pool[int(crop.source[i])].permute(1, 2, 0).cpu().numpy())

        return {
            key: [render_crop(crop, i, source(crop, i)) for i in range(len(crop.source))]
            for key, crop in crops.items()
        }

    def resize(self, images: list[PilImage], size: Size) -> list[PilImage]:
        """See :func:`resize`."""
        if all((image.height, image.width) == size for image in images):
            return images
        return [resize(image, size, self.resize_mode) for image in images]

    def paste(
        self, scene: list[PilImage], pastes: list[list[PilImage]], where: Paste
    ) -> list[PilImage]:
        """Paste one by one."""
        scenes = [image.copy() for image in scene]
        for b, image in enumerate(scenes):
            for number in where.order[b]:
                new = pastes[number][b]
                top, left = where.corners[b, number].tolist()
                box = (left, top, left + new.width, top + new.height)
                image.paste(Image.blend(image.crop(box), new, where.alpha), (left, top))
        return scenes

    def pick(self, images: list[PilImage], source: Tensor) -> list[PilImage]:
        """Index."""
        return [images[i] for i in source.tolist()]

    def finish(self, images: list[PilImage]) -> Tensor:
        """Normalize and bring to the device."""
        levels = np.stack([np.asarray(image, dtype=np.float32) for image in images])
        mean, std = (x.cpu().numpy().transpose(1, 2, 0) for x in (self.mean, self.std))
        normalized = ((levels - mean) / std).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(normalized)).to(self.mean.device)


def render_crop(crops: CropDraw, i: int, canvas: PilImage) -> PilImage:
    """Crop ``i`` of some draws from its squeezed image."""
    image = cut(crops, i, canvas)
    if crops.jitter[i]:
        for op in crops.order[i]:
            image = ADJUSTMENTS[op](image, float(crops.factors[i, op]))
    if crops.gray[i]:
        image = image.convert('L').convert('RGB')
    if crops.sigma[i]:
        image = image.filter(ImageFilter.GaussianBlur(float(crops.sigma[i])))
    return ImageOps.solarize(image, 128) if crops.solarize[i] else image


def cut(crops: CropDraw, i: int, canvas: PilImage) -> PilImage:
    """Crop, resize and flip, see :func:`render_crop`."""
    original, size = crops.original[i], crops.size
    top, left, height, width = crops.box[i]
    y, x = canvas.height / original[0], canvas.width / original[1]
    box = (left * x, top * y, (left + width) * x, (top + height) * y)
    # A box that ends with the image may exceed it by a rounding error, which Pillow refuses.
    box = (*box[:2], min(box[2], canvas.width), min(box[3], canvas.height))
    image = canvas.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)
    return ImageOps.mirror(image) if crops.flip[i] else image


def turn_hue(image: PilImage, shift: float) -> PilImage:
    """Shift the hue channel of Pillow's HSV by ``shift`` of its circle."""
    hue, saturation, value = image.convert('HSV').split()
    turned = (np.asarray(hue, dtype=np.int64) + int(shift * 255)) % 256
    hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


ADJUSTMENTS = (
    lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    turn_hue,
)


def resize(image: PilImage, size: Size, mode: str) -> PilImage:
    """Resize; ``nearest`` takes the pixel at the floor of the scaled index, as torch does."""
    if mode == 'bilinear':
        return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    rows = np.arange(size[0]) * image.height // size[0]
    columns = np.arange(size[1]) * image.width // size[1]
    return Image.fromarray(np.asarray(image)[rows][:, columns])
