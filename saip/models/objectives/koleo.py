"""Spreading of the image tokens of a small batch."""

from __future__ import annotations

import torch
from torch import Tensor

from saip.models.losses.koleo import koleo_loss
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class KoLeo(BaseObjective):
    """Keeps the image tokens of different images apart.

    No part of the method: with a few dozen images per batch, the center of cross-scale matching
    is too noisy to prevent collapse, and this term does it. The quickstart uses it.

    Args:
        parts: what it is built from.
        loss_weight: factor of the loss.
    """

    def __init__(self, parts: Parts, loss_weight: float = 0.1) -> None:
        super().__init__(parts, loss_weight)

    def student_inputs(self) -> dict[str, Outputs]:
        """Image tokens of both global views."""
        return dict.fromkeys(('anchor', 'augmented'), Outputs(image_token=True))

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Mean over both views of the negative log distance to the nearest other image."""
        spreads = [
            koleo_loss(student.views[name].require_final().require_image_token())
            for name in self.student_inputs()
        ]
        return {'loss': self.loss_weight * torch.stack(spreads).mean()}
