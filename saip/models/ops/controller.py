"""SOLIDER's semantic controller: a number per image scales and shifts what norms return.

Legend: B images, C channels, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saip.checkpoint.controller import check_lambda
from saip.models.ops.precision import FullPrecision, full_precision


@dataclass(frozen=True)
class Stage:
    """Where a controller may act.

    Attributes:
        norms: names of norms with γ and β whose outputs are changed alike.
        channels: of each of them.
        foldable: whether γ and β can absorb the change, so that an export folds it away; else
            ``norms`` names layers of another kind.
    """

    norms: tuple[str, ...]
    channels: int
    foldable: bool = True


@dataclass(frozen=True)
class Modulation:
    """What a condition makes of a stage: ``gain * x + shift``; both (B, C) float32."""

    gain: Tensor
    shift: Tensor


class SemanticController(FullPrecision, nn.Module):
    """One pair of linear layers per stage (Chen et al., SOLIDER, CVPR 2023, Section 3.3).

    With λ of an image and v = (λ, 1 - λ), the output x of a stage's norms becomes
    ``softplus(W v) * x + B v``, channel by channel. For a fixed λ the norm's own γ and β absorb
    both, see :func:`saip.checkpoint.controller.fold_controller`.

    Args:
        stages: where it acts.
        condition: λ of images that come with none, as in evaluation.

    Raises:
        InputError: λ is not from 0 to 1.
    """

    def __init__(self, stages: Sequence[Stage], condition: float) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.condition = check_lambda('model.backbone.controller.condition', condition)
        self.scales = nn.ModuleList(nn.Linear(2, stage.channels) for stage in stages)
        self.shifts = nn.ModuleList(nn.Linear(2, stage.channels) for stage in stages)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of 0.02, zero biases."""
        for layer in (*self.scales, *self.shifts):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, condition: Tensor | None, images: Tensor) -> list[Modulation]:
        """Modulations by stage.

        Args:
            condition: (B,) λ in [0, 1]; None takes the default for all.
            images: (B, ...), for their number.
        """
        like = next(self.parameters())
        if condition is None:
            condition = like.new_full((len(images),), self.condition)
        with full_precision(images.device):
            weight = condition.to(like)
            pair = torch.stack([weight, 1 - weight], dim=-1)
            return [
                Modulation(F.softplus(scale(pair)), shift(pair))
                for scale, shift in zip(self.scales, self.shifts, strict=True)
            ]

    @property
    def foldable(self) -> bool:
        """Whether an export can fold all of it away."""
        return all(stage.foldable for stage in self.stages)

    @contextmanager
    def applied_to(
        self, network: nn.Module, condition: Tensor | None, images: Tensor
    ) -> Iterator[None]:
        """Let the norms of ``network`` return what the condition makes of their output.

        Args:
            network: whose norms the stages name.
            condition: see :meth:`forward`.
            images: (B, ...), the batch that runs inside the context.
        """
        modules = dict(network.named_modules())
        handles = [
            modules[name].register_forward_hook(_changed_by(modulation))
            for stage, modulation in zip(self.stages, self(condition, images), strict=True)
            for name in stage.norms
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _changed_by(modulation: Modulation) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """A forward hook; BatchNorm has its channels second, other layers last."""

    def hook(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        batch, channels = modulation.gain.shape
        spare = out.ndim - 2
        shape = (
            (batch, channels, *[1] * spare)
            if isinstance(module, _BatchNorm)
            else (batch, *[1] * spare, channels)
        )
        gain, shift = modulation.gain.view(shape), modulation.shift.view(shape)
        return (gain * out + shift).to(out.dtype)

    return hook
