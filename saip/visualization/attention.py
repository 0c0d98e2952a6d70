"""Where an encoder looks: its attention map, laid over the image.

That is the attention of the image token in the last block; for encoders without attention over
all tokens, how similar each patch token of the last map is to the image token, or what the encoder
says of itself (``attention_is``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

if TYPE_CHECKING:
    from saip.models.backbones import BaseEncoder


BRIGHT = 2.0
"""Attention of at least this many times the average is drawn at full brightness."""

WIDEST = 4
"""An image that is wider than this many times its height is drawn narrower than it is."""


def prepare(image: Image.Image, size: tuple[int, int], statistics: Mapping[str, Any]) -> Tensor:
    """Resize and normalize an image for an encoder: (1, 3, h, w).

    Args:
        image: any mode.
        size: (h, w).
        statistics: ``mean`` and ``std`` of RGB in 0..255.
    """
    resized = image.convert('RGB').resize(size[::-1], Image.Resampling.BICUBIC, reducing_gap=3)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).float()
    mean, std = (torch.tensor(statistics[key]).view(3, 1, 1) for key in ('mean', 'std'))
    return ((pixels - mean) / std)[None]


def scaled_size(
    encoder: BaseEncoder, scale: float, size: tuple[int, int] | None = None
) -> tuple[int, int]:
    """A size times ``scale``, in whole cells of an encoder's map, at least one.

    Args:
        encoder: whose cells are meant.
        scale: factor.
        size: (h, w) in pixels; None: the encoder's input size.
    """
    cell = cell_of(encoder)
    sides = encoder.img_size if size is None else size
    height, width = (max(1, round(side * scale / cell)) * cell for side in sides)
    return height, width


def cell_of(encoder: BaseEncoder) -> int:
    """Pixels per cell of the attention map: with broken cells it would not fit the image."""
    return max(encoder.map_strides.values())


@torch.no_grad()
def attention_of(
    encoder: BaseEncoder,
    image: Image.Image,
    size: tuple[int, int],
    statistics: Mapping[str, Any],
) -> Tensor:
    """Attention map of an image, (heads, h, w) in cells; (1, h, w) if it is a similarity."""
    was_training = encoder.training
    device = next(encoder.parameters()).device
    images = prepare(image, size, statistics).to(device)
    attention = encoder.eval().attention_map(images)[0]
    encoder.train(was_training)
    return attention.float().cpu()


def overlay(
    image: Image.Image,
    weights: Tensor,
    strength: float = 0.6,
    brightest: float | None = None,
) -> Image.Image:
    """Lay a heat map over an image: dark and gray where there is little, bright where much.

    Args:
        image: the image.
        weights: (h, w), not negative. Dark is below half their average.
        strength: opacity of the heat map where it is strongest.
        brightest: weight that is drawn at full brightness; None: what 2 % exceed, but at least
            twice the average.
    """
    # A few cells take most of the attention; without a cut nothing else would be visible.
    # Without a floor of the cut, the noise of an untrained encoder would look like insight.
    average = float(weights.mean())
    high = brightest or max(float(weights.quantile(0.98)), BRIGHT * average)
    span = max(high - average / 2, 1e-12)  # 0 where nothing is similar
    relative = ((weights - average / 2) / span).clamp(min=0).numpy()
    heat = Image.fromarray(relative.astype(np.float32)).resize(
        image.size, Image.Resampling.BICUBIC
    )
    heat_values = np.clip(np.asarray(heat), 0, 1)
    colors = colormaps['inferno'](heat_values)[..., :3] * 255
    gray = np.asarray(image.convert('L'), dtype=np.float32)[..., None]
    base = 0.6 * np.asarray(image.convert('RGB'), dtype=np.float32) + 0.4 * gray
    alpha = (strength * np.sqrt(heat_values))[..., None]
    mixed = (1 - alpha) * base * (0.55 + 0.45 * heat_values[..., None]) + alpha * colors
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def tile_crowd(
    images: Sequence[Image.Image], rows: int = 2, cell: tuple[int, int] = (128, 64)
) -> Image.Image:
    """A scene of several people side by side, in ``rows`` rows of (h, w) cells.

    Neighbors stand a third of a cell lower or higher, so that the image is no plain table.
    """
    if not images:
        raise ValueError('a crowd needs images')
    height, width = cell
    columns = math.ceil(len(images) / rows)
    shift = height // 3
    scene = Image.new('RGB', (columns * width, rows * height + shift), '#8c8c86')
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        person = ImageOps.fit(image.convert('RGB'), (width, height), Image.Resampling.BICUBIC)
        scene.paste(person, (column * width, row * height + (column % 2) * shift))
    return scene


def draw_attention(
    encoder: BaseEncoder,
    images: Sequence[Image.Image],
    statistics: Mapping[str, Any],
    scales: Sequence[float] = (1.0, 1.5),
    height: int = 192,
) -> Image.Image:
    """Draw images with the encoder's attention at several input scales, one row per image.

    Args:
        encoder: gives :meth:`attention_map`; the mean over its heads is drawn.
        images: of persons.
        statistics: ``mean`` and ``std`` of RGB in 0..255.
        scales: of the encoder's input size.
        height: of a drawn image, in pixels.
    """
    rows = []
    for image in images:
        shown = _fit_height(image, height)
        cells = [shown]
        for scale in scales:
            attention = attention_of(encoder, image, scaled_size(encoder, scale), statistics)
            cells.append(overlay(shown, attention.mean(0)))
        rows.append(cells)
    sizes = [scaled_size(encoder, scale) for scale in scales]
    return _sheet(rows, ['image', *(f'at {h} x {w}' for h, w in sizes)], _caption(encoder))


def draw_crowd_attention(
    encoder: BaseEncoder, scene: Image.Image, statistics: Mapping[str, Any]
) -> Image.Image:
    """Draw a scene of several people, and the encoder's attention on it at its own size."""
    cell = cell_of(encoder)
    size = (math.ceil(scene.height / cell) * cell, math.ceil(scene.width / cell) * cell)
    attention = attention_of(encoder, scene, size, statistics)
    rows = [[scene.convert('RGB'), overlay(scene, attention.mean(0))]]
    return _sheet(rows, ['scene', f'at {size[0]} x {size[1]}'], _caption(encoder))


def _caption(encoder: BaseEncoder) -> str:
    return f'bright: high {encoder.attention_is}'


def _fit_height(image: Image.Image, height: int) -> Image.Image:
    # An image of a few rows would else become a strip of many thousand columns.
    width = min(max(1, round(image.width * height / image.height)), WIDEST * height)
    return image.convert('RGB').resize((width, height), Image.Resampling.BICUBIC)


def _sheet(
    rows: list[list[Image.Image]], titles: list[str], caption: str, gap: int = 8
) -> Image.Image:
    """Images in rows and columns, a title above each column, a caption above all."""
    line = 22
    header = 2 * line
    widths = [max(90, *(row[i].width for row in rows)) for i in range(len(titles))]
    heights = [row[0].height for row in rows]
    total = sum(widths) + gap * (len(titles) - 1)
    size = (
        max(total, int(ImageFont.load_default(13).getlength(caption)) + 1),
        header + sum(heights) + gap * (len(rows) - 1),
    )
    sheet = Image.new('RGB', size, 'white')
    pen = ImageDraw.Draw(sheet)
    pen.text((0, 3), caption, fill='black', font_size=13)
    left = 0
    for column, (title, width) in enumerate(zip(titles, widths, strict=True)):
        pen.text((left, line + 3), title, fill='black', font_size=13)
        top = header
        for row, height in zip(rows, heights, strict=True):
            sheet.paste(row[column], (left, top))
            top += height + gap
        left += width + gap
    return sheet
