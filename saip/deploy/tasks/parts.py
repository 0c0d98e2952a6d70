"""Part segmentation: a label for every pixel of a person."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from saip.deploy.program import Output, Program, check_size, image_input
from saip.deploy.tasks.finetuned import Finetuned, names_of, trained_size
from saip.structures import Grid


class PartLabels(nn.Module):
    """What a ``saip.SelfCorrectingSegmentor`` predicts of a crop, at one scale.

    Args:
        model: whose average predicts, once there is one.
        size: (height, width) of the images.
    """

    model: Any

    def __init__(self, model: Any, size: Grid) -> None:
        super().__init__()
        self.model = model
        self.metas = [{'img_shape': size}]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) -> labels (B, h, w) uint8, and their probabilities (B, h, w)."""
        scores, labels = self.model.encode_decode(images, self.metas).softmax(1).max(1)
        return labels.to(torch.uint8), scores


def part_program(tuned: Finetuned, size: Grid | None) -> list[Program]:
    """Make the program of a part segmentor."""
    encoder = tuned.model.backbone.encoder
    checked = check_size(size or trained_size(tuned.config), encoder.patch_stride)
    outputs = (
        Output('labels', 'part of every pixel, 0 the background', decoded=True),
        Output('scores', 'probability of the label'),
    )
    about = {
        'classes': names_of(tuned.dataset.get('classes')),
        'fit': 'the whole image, its proportions kept, black around it',
    }
    network = tuned.from_pixels(PartLabels(tuned.model, checked))
    return [
        Program('part_segmentation', network, image_input(checked, 'bilinear'), outputs, about)
    ]
