"""Loss of the classification of patch tokens into parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine import dist
from mmengine.model import BaseModule
from torch import Tensor

from saip.models.ops.precision import full_precision, widen
from saip.registry import MODELS


@MODELS.register_module()
class PartClassificationHead(BaseModule):
    """Cross-entropy of parts, weighted image by image (SOLIDER, Section 3.2)."""

    def loss(
        self, scores: Tensor, labels: Tensor, kept: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        """Mean over the tokens of the kept images of all processes.

        Args:
            scores: (B, N, K) of the classes.
            labels: (B, N) in 0 ... K - 1.
            kept: (B,) 1 for images that count, 0 for others, which keep their row.
            weight: (B,) factors of the images.

        Returns:
            ``loss``, 0 with a gradient of 0 if no image is kept, and ``accuracy``, the share of
            the kept images' tokens whose label has the highest score.
        """
        with full_precision(scores.device):
            scores = widen(scores)
            errors = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction='none')
            errors = errors.view(labels.shape).mean(1)
            total = (errors * weight * kept).sum()
        with torch.no_grad():
            count = kept.float().sum()
            right = ((scores.argmax(-1) == labels).float().mean(1) * kept).sum()
            sums = torch.stack([count, right])
            # Processes keep different numbers of images; their mean makes of the mean of their
            # losses the one over all kept images.
            dist.all_reduce(sums, op='mean')
            count, right = sums.unbind()
            count = torch.where(count > 0, count, 1.0)
        return {'loss': total / count, 'accuracy': right / count}
