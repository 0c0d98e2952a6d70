"""Spreading of the image tokens of a small batch."""

from __future__ import annotations

import torch
from torch import Tensor

from saip.models.backbones.base import BaseEncoder
from saip.models.experts import BaseExpert
from saip.models.losses.spread import nearest_neighbour_spread
from saip.models.objectives.base import BaseObjective
from saip.registry import MODELS
from saip.structures import Encoded, Need, Views


@MODELS.register_module()
class TokenSpread(BaseObjective):
    """Keeps the image tokens of different pictures apart.

    No part of the method: with a few dozen pictures per batch, the center of cross-scale matching
    is too noisy to prevent collapse, and this term does it. The quickstart uses it.

    Args:
        encoder: the encoder to be trained; not used here.
        expert: the expert; not used here.
        num_multires: number of multires views; not used here.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        encoder: BaseEncoder,
        expert: BaseExpert,
        num_multires: int,
        loss_weight: float = 0.1,
    ) -> None:
        super().__init__(loss_weight)

    def student_needs(self) -> dict[str, Need]:
        """Image tokens of both global views."""
        return dict.fromkeys(('anchor', 'augmented'), Need(image=True))

    def expert_needs(self) -> dict[str, Need]:
        """Nothing."""
        return {}

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Mean over both views of the negative log distance to the nearest other picture."""
        spreads = [
            nearest_neighbour_spread(student.views[name].require_final().require_image_token())
            for name in self.student_needs()
        ]
        return {'loss': self.loss_weight * torch.stack(spreads).mean()}
