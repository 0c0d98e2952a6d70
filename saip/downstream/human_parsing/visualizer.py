"""Images of parsed people."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData

from saip.registry import VISUALIZERS

from .crops import PartCrop, trim

OPACITY = 0.65


@VISUALIZERS.register_module()
class ParsingVisualizer(DetLocalVisualizer):
    """mmdetection's visualizer, which paints each part in its color and frames each person.

    Annotated people are on the left, predicted ones on the right. Colors are ``part_colors`` of
    the data set. Arguments are the parent's.
    """

    def _draw_instances(
        self, image: np.ndarray, instances: InstanceData, *options: Any
    ) -> np.ndarray:
        """Return an image (h, w, 3) in RGB with the parts and boxes of people."""
        drawn = image.copy()
        colors = np.array(self.dataset_meta['part_colors'], np.float32)
        for person in reversed(_crops(instances)):  # the best-scored is the first, and on top
            left, top, labels = person
            window = drawn[top : top + labels.shape[0], left : left + labels.shape[1]]
            mixed = OPACITY * colors[labels] + (1 - OPACITY) * window
            np.copyto(window, mixed.astype(np.uint8), where=labels[..., None] > 0)
        boxes = InstanceData(bboxes=instances.bboxes, labels=instances.labels)
        if 'scores' in instances:
            boxes.scores = instances.scores
        return super()._draw_instances(drawn, boxes, *options)

    def _draw_sem_seg(self, image: np.ndarray, sem_seg: PixelData, *options: Any) -> np.ndarray:
        """Return the image: its labels are those of the people, who are drawn already."""
        return image


def _crops(instances: InstanceData) -> list[PartCrop]:
    if 'parsings' in instances:
        return instances.parsings
    return [trim(labels) for labels in instances.masks.masks]
