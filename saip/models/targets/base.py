"""What a target of masked image modeling provides.

Legend: B images, S hidden patches, C numbers that are predicted of each.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from mmengine.model import BaseModule
from torch import Tensor

from saip.structures import PatchMask, Views


@dataclass(frozen=True)
class Pixels:
    """What a target is told of the images.

    Attributes:
        patch_size: side of a patch in pixels.
        mean: (3, 1, 1) of the normalization, in gray levels.
        std: (3, 1, 1) of the normalization, in gray levels.
    """

    patch_size: int
    mean: Tensor
    std: Tensor


class BaseTarget(BaseModule):
    """What is predicted of hidden patches, and the loss of the prediction.

    Attributes:
        out_channels: numbers C that a decoder predicts of each patch.

    A constructor takes ``pixels`` (:class:`Pixels`) first, then the options of the config.
    """

    out_channels: int

    def other_views(self) -> frozenset[str]:
        """Views that are read beside the masked one; none by default."""
        return frozenset()

    @abstractmethod
    def loss(
        self, predictions: Tensor, views: Views, name: str, mask: PatchMask
    ) -> dict[str, Tensor]:
        """Return ``loss`` and diagnostics under names without that word.

        Args:
            predictions: (B, S, C) of the patches ``mask.scored``.
            views: all views.
            name: of the masked view.
            mask: what is hidden.
        """


def mean_of_scored(errors: Tensor, mask: PatchMask) -> Tensor:
    """Mean of (B, S) errors over the patches that count."""
    if mask.scored_weight is None:
        return errors.mean()
    weight = mask.scored_weight.to(errors.dtype)
    return (errors * weight).sum() / weight.sum()
