"""Cross-scale search (CSS), Eq. 3."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saip.models.backbones.base import BaseEncoder
from saip.models.experts import BaseExpert
from saip.models.objectives.base import MULTIRES, BaseObjective, expand_views
from saip.registry import MODELS
from saip.structures import Encoded, Need, Views


@MODELS.register_module()
class CrossScaleSearch(BaseObjective):
    """Each query view finds itself in a scene of several people, which the expert encodes.

    Args:
        encoder: the encoder to be trained; gives the width of the queries.
        expert: the expert; gives the width of the scene's tokens.
        neck: the decoder.
        head: the loss.
        queries: names of the query views, in the order of the scene's masks.
        num_multires: number N of multires views.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        encoder: BaseEncoder,
        expert: BaseExpert,
        neck: dict[str, Any],
        head: dict[str, Any],
        num_multires: int,
        queries: tuple[str, ...] = (MULTIRES,),
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        widths = {'in_channels': encoder.pixel_dims, 'scene_channels': expert.pixel_dims}
        self.neck = MODELS.build({**widths, **neck})
        self.head = MODELS.build(head)
        self.queries = expand_views(tuple(queries), num_multires)

    def student_needs(self) -> dict[str, Need]:
        """Pixel features of the queries."""
        return dict.fromkeys(self.queries, Need(pixel=True))

    def expert_needs(self) -> dict[str, Need]:
        """Pixel features of the scene."""
        return {'scene': Need(pixel=True)}

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Sum of the queries' losses, and each of them for the log."""
        if views.scene_masks is None or views.scene_masks.shape[1] != len(self.queries):
            found = 0 if views.scene_masks is None else views.scene_masks.shape[1]
            raise RuntimeError(
                f'css has {len(self.queries)} queries but the scene came with {found} masks'
            )
        logits = self.neck(
            [student.views[name].require_pixel() for name in self.queries],
            expert.views['scene'].require_pixel(),
        )
        each = self.head.loss(logits, views.scene_masks)
        terms = {name: each[i].detach() for i, name in enumerate(self.queries)}
        return {'loss': self.loss_weight * each.sum(), **terms}
