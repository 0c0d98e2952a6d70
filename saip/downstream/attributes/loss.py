"""Binary cross-entropy whose weights follow from how common an attribute is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saip.errors import InputError


def ratio_weights(truth: Tensor, positive_ratio: Tensor) -> Tensor:
    """Weights of labels (Jia et al., 2021): exp(1 - r) of a positive one, exp(r) of a negative.

    Args:
        truth: (N, A), 1 where an image shows an attribute, else 0.
        positive_ratio: (A,) share r of the training images that show an attribute.
    """
    return torch.exp(torch.where(truth > 0.5, 1 - positive_ratio, positive_ratio))


class RatioWeightedBCE(nn.Module):
    """Weighted binary cross-entropy on logits: the sum over attributes, the mean over images.

    Args:
        num_attributes: number A of attributes.

    Attributes:
        positive_ratio: (A,) share of the training images that show each attribute. It comes
            from the training set (:class:`saip.PositiveRatioHook`) or from a checkpoint, and is
            not a number until then.
    """

    positive_ratio: Tensor

    def __init__(self, num_attributes: int) -> None:
        super().__init__()
        self.register_buffer('positive_ratio', torch.full((num_attributes,), torch.nan))
        self._known = False

    @property
    def ready(self) -> bool:
        """Whether the ratios are known."""
        # Remembered, so that a training step does not wait for the device.
        self._known = self._known or not bool(self.positive_ratio.isnan().any())
        return self._known

    def set_ratio(self, positive_ratio: Sequence[float]) -> None:
        """Set the share of the training images that show each attribute, A numbers."""
        self.positive_ratio.copy_(self.positive_ratio.new_tensor(positive_ratio))

    def per_image(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(N, A) logits and labels -> (N,) weighted cross-entropy summed over attributes.

        Raises:
            ValueError: the ratios are not set.
        """
        if not self.ready:
            raise InputError(
                'saip.RatioWeightedBCE does not know how common the attributes are; put '
                "dict(type='saip.PositiveRatioHook') into custom_hooks"
            )
        weights = ratio_weights(truth, self.positive_ratio)
        # float32 under autocast, too: 26 or 35 terms are summed.
        entropy = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction='none')
        return (weights * entropy).sum(1)

    def forward(self, logits: Tensor, truth: Tensor, avg_factor: int) -> Tensor:
        """Loss of a batch, shape ().

        Args:
            logits: (N, A).
            truth: (N, A), 0 or 1.
            avg_factor: number of images, as mmpretrain's heads give it.
        """
        return self.per_image(logits, truth).sum() / avg_factor
