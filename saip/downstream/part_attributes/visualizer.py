"""Images of garments with their attributes in words."""

from __future__ import annotations

import textwrap
from typing import Any

import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw, ImageFont

from saip.datasets.fashionpedia import HUMAN
from saip.registry import VISUALIZERS

COLORS = (
    (230, 60, 50),
    (60, 160, 60),
    (70, 110, 230),
    (240, 160, 40),
    (150, 70, 190),
    (40, 180, 190),
    (240, 100, 180),
    (150, 110, 70),
    (130, 180, 40),
    (110, 110, 130),
)
"""RGB of the garments of an image, one after the other."""

LEAST_WIDTH = 360
"""Pixels of a half, so that words have room below a small image."""
_FONT_SIZE, _LINE, _LETTER = 12, 16, 6.2


@VISUALIZERS.register_module()
class GarmentVisualizer(DetLocalVisualizer):
    """mmdetection's visualizer, which says what each garment is below the image.

    Annotated garments are on the left, predicted ones on the right. Boxes bear numbers; below stand
    category, score and attributes of each. The human is left out. Arguments are the parent's.
    """

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw an image with its garments, and show or save it.

        Args:
            name: of the image, for windows and logs.
            image: (h, w, 3) uint8 RGB.
            data_sample: annotations and predictions.
            draw_gt: draw what is annotated.
            draw_pred: draw what is predicted.
            show: open a window.
            wait_time: seconds until it closes; 0 waits for a key.
            out_file: where to write the image; None gives it to the logs.
            pred_score_thr: predictions below it are left out.
            step: number of the image in the logs.
        """
        halves = []
        sample = DetDataSample() if data_sample is None else data_sample.cpu()
        if draw_gt and 'gt_instances' in sample:
            halves.append(self._half(image, sample.gt_instances))
        if draw_pred and 'pred_instances' in sample:
            found = sample.pred_instances
            halves.append(self._half(image, found[found.scores > pred_score_thr]))
        drawn = _beside(halves) if halves else image
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(drawn[..., ::-1], out_file)
        else:
            self.add_image(name, drawn, step)

    def _half(self, image: np.ndarray, instances: InstanceData) -> np.ndarray:
        """An image with numbered garments, and words below it."""
        garments = instances[instances.labels != HUMAN]
        numbers = np.arange(len(garments))
        boxes = InstanceData(bboxes=garments.bboxes, labels=numbers)
        if len(garments):
            boxes.masks = _masks(garments)
        colors = [COLORS[number % len(COLORS)] for number in numbers]
        drawn = self._draw_instances(image, boxes, [f'{n + 1}' for n in numbers], colors)
        words = [self._words(number, garments[number]) for number in numbers.tolist()]
        return _captioned(drawn, words or ['no garment'], colors or [(0, 0, 0)])

    def _words(self, number: int, garment: InstanceData) -> str:
        """Number, category, score where there is one, and attributes."""
        meta: dict[str, Any] = self.dataset_meta
        title = meta['classes'][int(garment.labels)]
        score = f' {float(garment.scores):.2f}' if 'scores' in garment else ''
        present = garment.attributes[0].nonzero()[:, 0].tolist()
        names = ', '.join(meta['attributes'][column] for column in present)
        return f'{number + 1} {title}{score}: {names or "-"}'


def _masks(garments: InstanceData) -> np.ndarray:
    """Masks (N, h, w) bool, annotated or predicted."""
    masks = garments.masks
    return np.asarray(getattr(masks, 'masks', masks)).astype(bool)


def _captioned(
    image: np.ndarray, words: list[str], colors: list[tuple[int, int, int]]
) -> np.ndarray:
    """An image with lines of words below it, each text in its color."""
    height, width = image.shape[:2]
    wide = max(width, LEAST_WIDTH)
    texts = [
        textwrap.wrap(text, int((wide - 8) / _LETTER), subsequent_indent='   ')
        for text in words
    ]
    lines = sum(map(len, texts))
    page = Image.new('RGB', (wide, height + _LINE * (lines + 1)), 'white')
    page.paste(Image.fromarray(image), (0, 0))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_SIZE)
    top = height + _LINE // 2
    for text, color in zip(texts, colors, strict=True):
        for line in text:
            pen.text((4, top), line, fill=color, font=font)
            top += _LINE
    return np.asarray(page)


def _beside(halves: list[np.ndarray]) -> np.ndarray:
    """Images beside each other, filled up with white below."""
    height = max(half.shape[0] for half in halves)
    filled = [
        np.pad(half, ((0, height - half.shape[0]), (0, 0), (0, 0)), constant_values=255)
        for half in halves
    ]
    return np.concatenate(filled, axis=1)
