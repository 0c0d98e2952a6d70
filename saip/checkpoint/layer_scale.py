"""Folding LayerScale into the layers before it: what is left is an encoder without it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

FOLDED = {'attn.gamma1.weight': 'attn.proj', 'ffn.gamma2.weight': 'ffn.layers.1'}
"""Gains of a block's branches by their names, and the linear layer whose outputs they scale."""


def has_layer_scale(names: Mapping[str, Tensor]) -> bool:
    """Whether an encoder's tensors hold gains of residual branches."""
    return any(name.endswith(gain) for name in names for gain in FOLDED)


def fold_layer_scale(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the gains of the residual branches into the linear layers before them.

    A branch ends with g (W x + b), which is the linear layer with g W and g b.

    Args:
        state_dict: of a plain ViT with LayerScale.

    Returns:
        The tensors of the same function without LayerScale.
    """
    folded = dict(state_dict)
    for name, gain in state_dict.items():
        for ending, layer in FOLDED.items():
            if not name.endswith(ending):
                continue
            linear = name.removesuffix(ending) + layer
            weight, bias = (state_dict[f'{linear}.{part}'] for part in ('weight', 'bias'))
            wide = gain.double()
            folded[f'{linear}.weight'] = (wide[:, None] * weight.double()).to(weight.dtype)
            folded[f'{linear}.bias'] = (wide * bias.double()).to(bias.dtype)
            del folded[name]
    return folded
