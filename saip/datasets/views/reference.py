"""The reference renderer: the same plan, one picture at a time, with Pillow's operations."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor

from saip.datasets.views.base import Renderer
from saip.datasets.views.layout import SceneDraw
from saip.datasets.views.plan import ViewPlan
from saip.datasets.views.random_view import RandomView
from saip.datasets.views.recipe import Size
from saip.datasets.views.sizes import random_view_size

Picture = Image.Image


class ReferenceRenderer(Renderer[list[Picture]]):
    """Renders RGB pictures of 8 bits; slow, and what the batched renderer is measured by."""

    def _draw(self, plan: ViewPlan, canvas: Tensor) -> dict[str, list[Picture]]:
        pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in canvas.cpu()]
        return {
            name: [
                draw_random_view(
                    view,
                    i,
                    pictures[view.source[i]],
                    plan.sizes[view.source[i]],
                    random_view_size(self.recipe, name),
                )
                for i in range(len(view.source))
            ]
            for name, view in plan.random.items()
        }

    def _resize(self, pictures: list[Picture], size: Size) -> list[Picture]:
        return [resize(picture, size, self.resize_mode) for picture in pictures]

    def _paste(
        self,
        scene: list[Picture],
        pastes: list[list[Picture]],
        draw: SceneDraw,
        alpha: float,
    ) -> list[Picture]:
        scenes = [picture.copy() for picture in scene]
        for b, picture in enumerate(scenes):
            for number in draw.order[b]:
                new, left, top = pastes[number][b], draw.left[b, number], draw.top[b, number]
                box = (left, top, left + new.width, top + new.height)
                picture.paste(Image.blend(picture.crop(box), new, alpha), (left, top))
        return scenes

    def _pick(self, pictures: list[Picture], source: Tensor) -> list[Picture]:
        return [pictures[i] for i in source.tolist()]

    def _finish(self, pictures: list[Picture], device: torch.device) -> Tensor:
        levels = np.stack([np.asarray(p, dtype=np.float32) for p in pictures])
        mean, std = (np.array(x, dtype=np.float32) for x in (self.mean, self.std))
        normalised = ((levels - mean) / std).transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(normalised)).to(device)


def draw_random_view(
    view: RandomView, i: int, canvas: Picture, original: np.ndarray, size: Size
) -> Picture:
    """View ``i`` of some draws.

    Args:
        view: the draws.
        i: which of them.
        canvas: the squeezed picture that it is cut from.
        original: height and width of the picture before squeezing.
        size: of the view.
    """
    picture = cut(view, i, canvas, original, size)
    if view.jitter[i]:
        for op in view.order[i]:
            picture = ADJUSTMENTS[op](picture, float(view.factors[i, op]))
    if view.gray[i]:
        picture = picture.convert('L').convert('RGB')
    if view.sigma[i]:
        picture = picture.filter(ImageFilter.GaussianBlur(float(view.sigma[i])))
    return ImageOps.solarize(picture, 128) if view.solarize[i] else picture


def cut(view: RandomView, i: int, canvas: Picture, original: np.ndarray, size: Size) -> Picture:
    """Crop, resize and flip, see :func:`draw_random_view`."""
    top, left, height, width = view.box[i]
    y, x = canvas.height / original[0], canvas.width / original[1]
    box = (left * x, top * y, (left + width) * x, (top + height) * y)
    # A box that ends with the picture may exceed it by a rounding error, which Pillow refuses.
    box = (*box[:2], min(box[2], canvas.width), min(box[3], canvas.height))
    picture = canvas.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)
    return ImageOps.mirror(picture) if view.flip[i] else picture


def turn_hue(picture: Picture, shift: float) -> Picture:
    """Shift the hue channel of Pillow's HSV by ``shift`` of its circle."""
    hue, saturation, value = picture.convert('HSV').split()
    turned = (np.asarray(hue, dtype=np.int64) + int(shift * 255)) % 256
    hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')


ADJUSTMENTS = (
    lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    turn_hue,
)


def resize(picture: Picture, size: Size, mode: str) -> Picture:
    """Resize; ``nearest`` takes the pixel at the floor of the scaled index, as torch does."""
    if mode == 'bilinear':
        return picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    rows = np.arange(size[0]) * picture.height // size[0]
    columns = np.arange(size[1]) * picture.width // size[1]
    return Image.fromarray(np.asarray(picture)[rows][:, columns])
