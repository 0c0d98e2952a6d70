"""Loss of cross-scale search."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from saip.errors import InputError
from saip.models.ops.cells import cell_targets
from saip.registry import MODELS


@MODELS.register_module()
class InstanceMaskHead(BaseModule):
    """Per-cell loss of where a query lies in the scene, mean over cells (Eq. 3).

    Args:
        loss: ``bce`` on the logits, or ``mse`` after a sigmoid, as the paper prints it.
        cell_rule: a cell is positive if at least half of it is ``cover``-ed, or if its top-left
            pixel is (``nearest``, as in the method's first release).
    """

    def __init__(
        self,
        loss: Literal['bce', 'mse'] = 'bce',
        cell_rule: Literal['cover', 'nearest'] = 'cover',
    ) -> None:
        super().__init__()
        if loss not in ('bce', 'mse'):
            raise InputError(f"css loss={loss!r}: choose 'bce' or 'mse'")
        if cell_rule not in ('cover', 'nearest'):
            raise InputError(f"css cell_rule={cell_rule!r}: choose 'cover' or 'nearest'")
        self.kind = loss
        self.cell_rule: Literal['cover', 'nearest'] = cell_rule

    def loss(self, logits: Tensor, scene_masks: Tensor) -> Tensor:
        """Compare (B, Q, h, w) logits with (B, Q, H, W) masks at pixel resolution; (Q,) losses."""
        grid = (logits.shape[-2], logits.shape[-1])
        cells = cell_targets(scene_masks, grid, self.cell_rule)
        scores = logits.to(cells.dtype)
        if self.kind == 'bce':
            errors = F.binary_cross_entropy_with_logits(scores, cells, reduction='none')
        else:
            errors = (scores.sigmoid() - cells).square()
        return errors.mean((0, 2, 3))
