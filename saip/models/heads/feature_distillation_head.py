"""Loss of cross-scale matching with a frozen expert."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from saip.errors import InputError
from saip.models.losses.feature_distillation import Measure, feature_distillation
from saip.registry import MODELS


@MODELS.register_module()
class FeatureDistillationHead(BaseModule):
    """Predicted image tokens against those of an encoder that never changes.

    Args:
        measure: ``smooth_l1`` or ``cosine``, see
            :func:`saip.models.losses.feature_distillation.feature_distillation`.
    """

    def __init__(self, measure: Measure = 'smooth_l1') -> None:
        super().__init__()
        if measure not in ('smooth_l1', 'cosine'):
            raise InputError(f"csm measure={measure!r}: choose 'smooth_l1' or 'cosine'")
        self.measure = measure

    def loss(
        self, predictions: Tensor, targets: Tensor, same_view: dict[int, int], num_views: int
    ) -> Tensor:
        """Mean distance of (V * B, D) predictions from (T * B, D) targets of other views."""
        return feature_distillation(predictions, targets, same_view, num_views, self.measure)
