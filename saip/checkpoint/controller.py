"""Folding SOLIDER's controller into the norms it acts on: what is left is a stock encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError

PREFIX = 'controller.'
DEFAULT_CONDITION = 0.2
"""λ of SOLIDER's release for re-identification; it takes 0.8 for pose, attributes and parsing."""


class FoldedStage(Protocol):
    """What folding asks of a stage; see ``saip.models.ops.controller.Stage``."""

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of norms, below the encoder."""


def check_lambda(where: str, value: Any) -> float:
    """Return λ.

    Raises:
        InputError: it is no number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f'{where}: λ is a number from 0 to 1, not {value!r}')
    return float(value)


def without_controller(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """What builds the stock encoder that folding leaves."""
    return {k: v for k, v in architecture.items() if k not in ('controller', 'grid')}


def has_controller(state_dict: Mapping[str, Any]) -> bool:
    """Whether an encoder's tensors hold those of a controller."""
    return any(key.startswith(PREFIX) for key in state_dict)


def can_fold(state_dict: Mapping[str, Any], stages: Sequence[FoldedStage]) -> bool:
    """Whether an encoder's tensors hold a controller of these stages and their norms."""
    layers = [
        f'{PREFIX}{kind}.{i}' for kind in ('scales', 'shifts') for i in range(len(stages))
    ]
    norms = [norm for stage in stages for norm in stage.norms]
    needed = (f'{name}.{part}' for name in (*layers, *norms) for part in ('weight', 'bias'))
    return all(name in state_dict for name in needed)


def fold_controller(
    state_dict: Mapping[str, Tensor], stages: Sequence[FoldedStage], condition: float
) -> dict[str, Tensor]:
    """Fix λ and put its effect into the norms.

    A norm returns γ z + β; the controller makes ``g (γ z + β) + b`` of it, which is the norm with
    g γ and g β + b.

    Args:
        state_dict: of an encoder with a controller.
        stages: of this encoder.
        condition: λ.

    Returns:
        The tensors of the stock encoder.

    Raises:
        InputError: λ is not from 0 to 1.
    """
    condition = check_lambda('condition', condition)
    folded = {k: v for k, v in state_dict.items() if not k.startswith(PREFIX)}
    for index, stage in enumerate(stages):
        gain = F.softplus(_modulation(state_dict, f'{PREFIX}scales.{index}', condition))
        shift = _modulation(state_dict, f'{PREFIX}shifts.{index}', condition)
        for norm in stage.norms:
            weight, bias = (state_dict[f'{norm}.{part}'] for part in ('weight', 'bias'))
            folded[f'{norm}.weight'] = (gain * weight.double()).to(weight.dtype)
            folded[f'{norm}.bias'] = (gain * bias.double() + shift).to(bias.dtype)
    return folded


def _modulation(state_dict: Mapping[str, Tensor], layer: str, condition: float) -> Tensor:
    """What a linear layer makes of (λ, 1 - λ), in double precision."""
    weight = state_dict[f'{layer}.weight'].double()
    pair = torch.tensor([condition, 1 - condition], dtype=torch.float64, device=weight.device)
    return weight @ pair + state_dict[f'{layer}.bias'].double()
