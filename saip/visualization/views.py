"""One sample's views in one image: what the objectives get to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from saip.models.ops.cells import cell_targets
from saip.structures import Views
from saip.views.scene import BaseScene

if TYPE_CHECKING:
    from saip.models.data_preprocessor import ViewsPreprocessor

QUERY_COLORS = ((230, 60, 40), (30, 110, 220), (20, 150, 80), (170, 60, 190), (230, 150, 20))
HIDDEN_GRAY = 128
MARGIN = 10
LABEL_HEIGHT = 16
SHEET_WIDTH = 1400
Labeled = tuple[str, Image.Image]


def draw_views(
    views: Views, preprocessor: ViewsPreprocessor, sample: int, canvas: Tensor | None = None
) -> Image.Image:
    """Draw all views of one sample, labeled and at their true relative size.

    Hidden patches of the masked view are gray. In the scene each query is outlined, and shown
    again with the cells of the feature map that count as the query.

    Args:
        views: of a batch.
        preprocessor: that made them.
        sample: position in the batch.
        canvas: (3, Hc, Wc) uint8, the image that they were made of; drawn if given.

    Returns:
        An RGB image.
    """
    patch = preprocessor.patch_size
    entry_of = {v: e for e, names in preprocessor.recipe.names.items() for v in names}
    mean, std = preprocessor.mean.cpu(), preprocessor.std.cpu()
    shown: list[Labeled] = []
    if canvas is not None:
        shown.append(('canvas', _image(canvas.float().cpu())))
    for name, view in views.by_name.items():
        entry = preprocessor.recipe[entry_of[name]]
        for i, batch in enumerate(view.images.chunk(entry.rows)):
            height, width = batch.shape[-2:]
            label = f'{name} {i + 1}' if entry.rows > 1 else name
            image = _image(batch[sample].float().cpu() * std + mean)
            shown.append((f'{label} {height}x{width}', image))
        if view.mask is not None:
            hidden = _hide(image, view.mask.keep[sample].cpu(), patch)
            shown.append((f'visible patches of {name}', hidden))
        if isinstance(entry, BaseScene):
            masks = views.targets[f'{name}_masks'][sample].cpu()
            shown += _scene_images(image, masks, patch, entry.cell_rule)
    return _sheet(shown)


def _image(levels: Tensor) -> Image.Image:
    array = levels.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array))


def _hide(image: Image.Image, keep: Tensor, patch: int) -> Image.Image:
    rows, columns = image.height // patch, image.width // patch
    visible = np.zeros(rows * columns, dtype=np.uint8)
    visible[keep.numpy()] = 255
    mask = Image.fromarray(visible.reshape(rows, columns)).resize(
        image.size, Image.Resampling.NEAREST
    )
    gray = Image.new('RGB', image.size, (HIDDEN_GRAY,) * 3)
    return Image.composite(image, gray, mask)


def _scene_images(scene: Image.Image, masks: Tensor, patch: int, rule: str) -> list[Labeled]:
    grid = (scene.height // patch, scene.width // patch)
    cells = cell_targets(masks[None], grid, rule)
    spread = F.interpolate(cells, size=(scene.height, scene.width), mode='nearest')[0]
    outlined = np.asarray(scene).copy()
    images = []
    for query, (mask, positive) in enumerate(zip(masks, spread, strict=True)):
        color = QUERY_COLORS[query % len(QUERY_COLORS)]
        outlined[_edge(mask.numpy() > 0)] = color
        tinted = Image.blend(scene, Image.new('RGB', scene.size, color), 0.5)
        on = Image.fromarray((positive.numpy() * 255).astype(np.uint8))
        images.append((f'cells of query {query}', Image.composite(tinted, scene, on)))
    return [('where the queries are', Image.fromarray(outlined)), *images]


def _edge(mask: np.ndarray, width: int = 2) -> np.ndarray:
    """Pixels of a mask that are less than ``width`` from its border."""
    padded = np.pad(mask, width)
    inner = mask.copy()
    for dy in range(-width, width + 1):
        for dx in range(-width, width + 1):
            rows = slice(width + dy, width + dy + mask.shape[0])
            inner &= padded[rows, width + dx : width + dx + mask.shape[1]]
    return mask & ~inner


def _sheet(shown: list[Labeled]) -> Image.Image:
    """Lay images out in lines from left to right, each with its label above."""
    font = ImageFont.load_default()
    places: list[tuple[int, int]] = []
    x, y, line, width = MARGIN, MARGIN, 0, 0
    for label, image in shown:
        room = max(image.width, int(font.getlength(label)))
        if x > MARGIN and x + room + MARGIN > SHEET_WIDTH:
            x, y, line = MARGIN, y + line + MARGIN, 0
        places.append((x, y))
        x += room + MARGIN
        width, line = max(width, x), max(line, image.height + LABEL_HEIGHT)
    sheet = Image.new('RGB', (width, y + line + MARGIN), 'white')
    draw = ImageDraw.Draw(sheet)
    for (label, image), (left, top) in zip(shown, places, strict=True):
        draw.text((left, top), label, fill='black', font=font)
        sheet.paste(image, (left, top + LABEL_HEIGHT))
    return sheet
