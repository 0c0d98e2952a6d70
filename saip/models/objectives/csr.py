"""Cross-scale reconstruction (CSR), Eq. 2."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from saip.models.backbones.base import BaseEncoder
from saip.models.experts import BaseExpert
from saip.models.objectives.base import BaseObjective
from saip.registry import MODELS
from saip.structures import Encoded, Need, Views


@MODELS.register_module()
class CrossScaleReconstruction(BaseObjective):
    """A masked view at another scale is reconstructed with the help of the anchor.

    Args:
        encoder: the encoder to be trained; gives widths, grid and patch size of the decoder.
        expert: the expert; one that does not average the student needs an embedding of its own
            for the tokens it masks.
        neck: the decoder.
        head: the loss.
        masked_by: whose tokens of the masked view are used; the ``expert``'s carry no gradient.
        num_multires: number of multires views; not used here.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        encoder: BaseEncoder,
        expert: BaseExpert,
        neck: dict[str, Any],
        head: dict[str, Any],
        num_multires: int,
        masked_by: Literal['student', 'expert'] = 'student',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if masked_by not in ('student', 'expert'):
            raise ValueError(f"csr masked_by={masked_by!r}: choose 'student' or 'expert'")
        stride = encoder.patch_stride
        grid = (encoder.img_size[0] // stride, encoder.img_size[1] // stride)
        size = {'patch_size': stride}
        widths: dict[str, int] = {'in_channels': encoder.pixel_dims}
        if masked_by == 'expert' and not expert.is_average:
            widths['masked_channels'] = expert.pixel_dims
        self.neck = MODELS.build({**widths, 'grid': grid, **size, **neck})
        self.head = MODELS.build({**size, **head})
        self.masked_by = masked_by

    def student_needs(self) -> dict[str, Need]:
        """Pixel features of the anchor, and of the masked view if the student encodes it."""
        needs = {'anchor': Need(pixel=True)}
        if self.masked_by == 'student':
            needs['masked'] = Need(pixel=True)
        return needs

    def expert_needs(self) -> dict[str, Need]:
        """Pixel features of the masked view if the expert encodes it."""
        return {'masked': Need(pixel=True)} if self.masked_by == 'expert' else {}

    def other_views(self) -> frozenset[str]:
        """The masked view's pixels are the target."""
        return frozenset({'masked'})

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Squared error of the reconstructed patches."""
        if views.mask is None:
            raise RuntimeError('the masked view came without its mask')
        source = student if self.masked_by == 'student' else expert
        predictions = self.neck(
            source.views['masked'].require_pixel(),
            student.views['anchor'].require_pixel(),
            views.mask,
            self.head.select(views.mask),
        )
        loss = self.head.loss(predictions, views.images['masked'], views.mask)
        return {'loss': self.loss_weight * loss}
