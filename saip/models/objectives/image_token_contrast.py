"""Contrast between two views of each image (the alignment of HAP, arXiv:2310.20695)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class ImageTokenContrast(BaseObjective):
    """Image tokens of two views of one image find each other among those of other images.

    Args:
        parts: views.
        head: the loss.
        views: the two views.
        loss_weight: factor of the loss.

    Raises:
        InputError: these are not two views.
    """

    def __init__(
        self,
        parts: Parts,
        head: dict[str, Any],
        views: tuple[str, str] = ('masked_a', 'masked_b'),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        self.head = MODELS.build(head)
        self.views = parts.expand(tuple(views))
        if len(self.views) != 2 or self.views[0] == self.views[1]:
            raise InputError(f'a contrast is between two views, not {", ".join(self.views)}')

    def student_inputs(self) -> dict[str, Outputs]:
        """Image tokens of both views."""
        return dict.fromkeys(self.views, Outputs(image_token=True))

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Cross-entropy of finding the other view."""
        one, other = (
            student.views[name].require_final().require_image_token() for name in self.views
        )
        return {'loss': self.loss_weight * self.head.loss(one, other)}
