"""Learning rates that decay with depth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor
from torch import nn

from saip.errors import InputError
from saip.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """Learning rates that fall from the head to the stem of a model whose backbone is an encoder.

    With n layers, of which the encoder's ``get_layer_depth`` says d for a parameter (0 the stem,
    n - 1 the final norm and all that follows the encoder), the rate is the base rate times
    ``layer_decay_rate ** (n - 1 - d)``. mmpretrain's constructor asks the model, which only its own
    classifiers answer; this one asks ``model.backbone``, which may be in the model of any library:
    an encoder, or a pyramid of ``saip`` around one, whose own layers follow the encoder. Parameters
    that are treated alike share a group: a step of an optimizer is one call per group.

    Args:
        optim_wrapper_cfg: ``optimizer`` and what the wrapper takes.
        paramwise_cfg: ``layer_decay_rate``, ``flat_decay_mult``, ``custom_keys`` ... as in
            mmpretrain.

    Raises:
        ValueError: the model's backbone does not know the depth of its layers.
    """

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = '',
        get_layer_depth: Callable[[str], tuple[int, int]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append the groups of a model to ``params``; the parent calls it for parts of it."""
        if get_layer_depth is not None:
            super().add_params(params, module, prefix, get_layer_depth, **kwargs)
            return
        model: Any = module  # nn.Module declares its attributes as tensors or modules
        try:
            depth = model.backbone.get_layer_depth
        except AttributeError as error:
            raise InputError(
                'optim_wrapper.constructor: saip.LayerDecayConstructor needs a model.backbone '
                f'with get_layer_depth, which the encoders and pyramids of saip have ({error})'
            ) from error
        single: list[dict[str, Any]] = []
        super().add_params(single, module, prefix, partial(depth, prefix='backbone.'), **kwargs)
        params += _merged(single)


def _merged(single: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of one parameter each, as one group for all with the same settings."""
    merged: list[dict[str, Any]] = []
    for group in single:
        own = ('params', 'param_name', 'layer_id')
        settings = {key: value for key, value in group.items() if key not in own}
        for other in merged:
            if {key: value for key, value in other.items() if key != 'params'} == settings:
                other['params'] += group['params']
                break
        else:
            merged.append({'params': list(group['params']), **settings})
    return merged
