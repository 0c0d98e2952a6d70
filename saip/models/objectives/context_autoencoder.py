"""The context autoencoder (CAE)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
from saip.models.objectives.base import BaseObjective, Parts
from saip.models.ops.precision import full_precision, widen
from saip.models.targets.base import Pixels
from saip.registry import MODELS
from saip.structures import Encoded, Outputs, View, Views


@MODELS.register_module()
class ContextAutoencoder(BaseObjective):
    """Hidden patches are regressed in the encoder's space, then decoded (CAE, arXiv:2202.03026).

    The encoder sees the visible patches alone. The regressor predicts its tokens of the hidden
    ones; the alignment loss compares these with what the same encoder makes of the hidden patches
    without the visible ones. The decoder predicts a target from the regressed tokens. Image
    tokens take part in the encoder's attention alone.

    The same encoder is an expert with momentum 0, so that nothing of the alignment's target
    gets a gradient. In training it has no stochastic depth.

    Args:
        parts: the encoder, which gives width, grid and patch size, and the expert.
        regressor: the latent contextual regressor.
        decoder: the decoder.
        target: what is decoded, see :mod:`saip.models.targets`.
        view: the masked view.
        complement: the same images with the complement of its mask.
        align_weight: factor of the alignment beside the decoder's loss.
        loss_weight: factor of the sum.

    Raises:
        InputError: there is no expert, or it is no average of the encoder.
    """

    needs_dropped_tokens = True

    def __init__(
        self,
        parts: Parts,
        regressor: dict[str, Any],
        decoder: dict[str, Any],
        target: dict[str, Any],
        view: str = 'masked',
        complement: str = 'complement',
        align_weight: float = 2.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(parts, loss_weight)
        expert = parts.require_expert('saip.ContextAutoencoder')
        if not expert.is_average:
            raise InputError(
                'saip.ContextAutoencoder aligns the regressed tokens with those of the same '
                'encoder: model.expert=dict(type="saip.EMAExpert", momentum=0) instead of '
                f'{type(expert).__name__}'
            )
        encoder = parts.encoder
        stride = encoder.patch_stride
        grid = (encoder.img_size[0] // stride, encoder.img_size[1] // stride)
        self.regressor = MODELS.build(
            {'in_channels': encoder.patch_dims, 'grid': grid, **regressor}
        )
        pixels = Pixels(stride, parts.mean, parts.std)
        self.target = MODELS.build(dict(target), default_args={'pixels': pixels})
        outputs = {'dims': self.regressor.dims, 'out_channels': self.target.out_channels}
        self.decoder = MODELS.build({**outputs, **decoder})
        self.view = view
        self.complement = complement
        self.align_weight = align_weight

    def student_inputs(self) -> dict[str, Outputs]:
        """Visible patches of the masked view, after the last block."""
        return {self.view: Outputs(patch_tokens=True)}

    def expert_inputs(self) -> dict[str, Outputs]:
        """Its hidden patches, after the last block."""
        return {self.complement: Outputs(patch_tokens=True)}

    def other_views(self) -> frozenset[str]:
        """The masked view's pixels, and what the target reads."""
        return frozenset({self.view}) | self.target.other_views()

    def loss(self, student: Encoded, expert: Encoded, views: Views) -> dict[str, Tensor]:
        """Return the weighted sum, and its two terms: ``decoded`` and ``aligned``, unweighted."""
        masked = views[self.view]
        mask = masked.mask
        if mask is None:
            raise RuntimeError(f'the view {self.view} came without its mask')
        self._check_complement(masked, views[self.complement])
        features = student.views[self.view].require_final()
        hidden = expert.views[self.complement].require_final().require_patch_tokens()
        latents = self.regressor(features, mask)
        with torch.no_grad():
            wanted = self.regressor.embed(hidden)
        with full_precision(latents.device):
            aligned = F.mse_loss(widen(latents), widen(wanted))
        places = self.regressor.places(features.grid, mask.scored)
        terms = self.target.loss(self.decoder(latents, places), views, self.view, mask)
        decoded = terms.pop('loss')
        total = self.loss_weight * (decoded + self.align_weight * aligned)
        report = {'decoded': decoded.detach(), 'aligned': aligned.detach()}
        return {'loss': total, **report, **terms}

    def _check_complement(self, masked: View, other: View) -> None:
        """Compare shapes, which the host knows: all that is hidden is regressed, nothing else.

        Raises:
            InputError: the other view is not the complement, or not all hidden patches count.
        """
        mask, rest = masked.mask, other.mask
        assert mask is not None
        hidden = mask.restore.shape[1] - mask.keep.shape[1]
        if rest is None or rest.keep.shape[1] != hidden or mask.scored.shape[1] != hidden:
            raise InputError(
                f'model.data_preprocessor.views.{self.complement} has to show the {hidden} patches '
                f"that {self.view} hides: mask=dict(type='ComplementMask', of={self.view!r}), "
                f'and the mask of {self.view} has to score all of them (RandomMask, BlockMask)'
            )
