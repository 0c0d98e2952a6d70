"""Cross-scale reconstruction (CSR), Eq. 2."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, Views


@MODELS.register_module()
class CrossScaleReconstruction(BaseObjective):
    """A masked view at another scale is reconstructed with the help of the anchor.

    Args:
        parts: encoder, which gives widths, grid and patch size of the decoder, and expert; one
            that does not average the student needs an embedding of its own for the tokens it
            masks.
        neck: the decoder.
        head: the loss.
        masked_by: whose tokens of the masked view are used; the ``expert``'s carry no gradient.
        loss_weight: factor of the loss.
    """

    reads_last_block = False

    def __init__(
        self,
        parts: Parts,
        neck: dict[str, Any],
        head: dict[str, Any],
        masked_by: Literal['student', 'expert'] = 'student',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        if masked_by not in ('student', 'expert'):
            raise InputError(f"csr masked_by={masked_by!r}: choose 'student' or 'expert'")
        encoder = parts.encoder
        stride = encoder.patch_stride
        grid = (encoder.img_size[0] // stride, encoder.img_size[1] // stride)
        size = {'patch_size': stride}
        widths: dict[str, int] = {'in_channels': encoder.dense_dims}
        if masked_by == 'expert':
            expert = parts.require_expert("csr masked_by='expert'")
            if not expert.is_average:
                widths['masked_channels'] = expert.dense_dims
        self.neck = MODELS.build({**widths, 'grid': grid, **size, **neck})
        self.head = MODELS.build({**size, **head})
        self.masked_by = masked_by

    def student_inputs(self) -> dict[str, Outputs]:
        """Dense features of the anchor, and of the masked view if the student encodes it."""
        needs = {'anchor': Outputs(dense=True)}
        if self.masked_by == 'student':
            needs['masked'] = Outputs(dense=True)
        return needs

    def expert_inputs(self) -> dict[str, Outputs]:
        """Dense features of the masked view if the expert encodes it."""
        return {'masked': Outputs(dense=True)} if self.masked_by == 'expert' else {}

    def other_views(self) -> frozenset[str]:
        """The masked view's pixels are the target."""
        return frozenset({'masked'})

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Squared error of the reconstructed patches."""
        images, mask = views['masked'].images, views['masked'].mask
        if mask is None:
            raise RuntimeError('the masked view came without its mask')
        source = student if self.masked_by == 'student' else expert
        predictions = self.neck(
            source.views['masked'].require_dense(),
            student.views['anchor'].require_dense(),
            mask,
            self.head.select(mask),
        )
        loss = self.head.loss(predictions, images, mask)
        return {'loss': self.loss_weight * loss}
