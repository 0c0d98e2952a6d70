"""Cross-scale matching (CSM, Eq. 1) with a frozen expert."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.models.objectives.csm import ROLES, gather_image_tokens, same_views
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views

TARGETS = ('expert_globals', 'expert_multires')


@MODELS.register_module()
class FeatureDistillation(BaseObjective):
    """The student predicts the expert's image token of a view from other views.

    The role of :class:`CrossScaleMatching` where the expert is frozen: prototypes need a projector
    on the expert's side that nothing trains, or a trained one, which could make both sides
    constant. The expert's own features are a target that cannot collapse.

    Args:
        parts: encoder, which gives the projector's input width, expert, which gives the width of
            the predicted features, and views.
        neck: the projector.
        head: the loss.
        target: ``expert_globals`` or ``expert_multires``, see :class:`CrossScaleMatching`; the
            student cannot be the target of an expert that does not learn.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        target: Literal['expert_globals', 'expert_multires'] = 'expert_globals',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        if target not in TARGETS:
            raise InputError(
                f'csm target={target!r}: with saip.FeatureDistillation choose one of '
                f'{", ".join(TARGETS)}'
            )
        expert = parts.require_expert('saip.FeatureDistillation (csm)')
        widths = {'in_channels': parts.encoder.embed_dims, 'out_channels': expert.embed_dims}
        self.neck = MODELS.build({**widths, **neck})
        self.head = MODELS.build(head)
        targets, predictors = ROLES[target]
        self.target_views = parts.expand(targets)
        self.predicting_views = parts.expand(predictors)

    def student_inputs(self) -> dict[str, Outputs]:
        """Image tokens of the predicting views."""
        return dict.fromkeys(self.predicting_views, Outputs(image_token=True))

    def expert_inputs(self) -> dict[str, Outputs]:
        """Image tokens of the target views."""
        return dict.fromkeys(self.target_views, Outputs(image_token=True))

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Distance of the predicted features from the expert's on different views."""
        targets, target_views = gather_image_tokens(expert, self.target_views, views)
        tokens, predictors = gather_image_tokens(student, self.predicting_views, views)
        value = self.head.loss(
            self.neck(tokens), targets, same_views(predictors, target_views), len(predictors)
        )
        return {'loss': self.loss_weight * value}
