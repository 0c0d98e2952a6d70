"""Cross-scale search (CSS), Eq. 3."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class CrossScaleSearch(BaseObjective):
    """Each query view finds itself in a scene of several people, which the expert encodes.

    Args:
        parts: encoder, which gives the width of the queries, expert, which gives the width of
            the scene's tokens, and views.
        neck: the decoder.
        head: the loss.
        queries: names of the query views, in the order of the scene's masks.
        loss_weight: factor of the loss.
    """

    reads_last_block = False

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        queries: tuple[str, ...] = ('multires',),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        expert = parts.require_expert('cross-scale search (css)')
        widths = {'in_channels': parts.encoder.dense_dims, 'scene_channels': expert.dense_dims}
        self.neck = MODELS.build({**widths, **neck})
        self.head = MODELS.build(head)
        self.queries = parts.expand(tuple(queries))

    def student_inputs(self) -> dict[str, Outputs]:
        """Dense features of the queries."""
        return dict.fromkeys(self.queries, Outputs(dense=True))

    def expert_inputs(self) -> dict[str, Outputs]:
        """Dense features of the scene."""
        return {'scene': Outputs(dense=True)}

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Sum of the queries' losses, and each of them for the log."""
        masks = views.targets['scene_masks']
        if masks.shape[1] != len(self.queries):
            raise RuntimeError(
                f'css has {len(self.queries)} queries but the scene came with {masks.shape[1]} '
                'masks'
            )
        logits = self.neck(
            [student.views[name].require_dense() for name in self.queries],
            expert.views['scene'].require_dense(),
        )
        each = self.head.loss(logits, masks)
        terms = {name: each[i].detach() for i, name in enumerate(self.queries)}
        return {'loss': self.loss_weight * each.sum(), **terms}
