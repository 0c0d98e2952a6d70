"""Fused optimizers: one pass over the weights of a step.

On a GPU they also leave a step out on the device, without a wait of the host.
"""

from __future__ import annotations

import inspect
from typing import Any

from mmengine.registry import OPTIMIZERS
from torch.optim import Optimizer

ALTERNATIVES = ('fused', 'foreach', 'capturable', 'differentiable')
"""Arguments of torch's optimizers that choose an implementation, one of them at most."""


def fuse(cfg: dict[str, Any], groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Choose an optimizer's fused implementation if its parameters share a CPU or a kind of GPU.

    Args:
        cfg: the optimizer's configuration; an implementation that it names stays.
        groups: its parameter groups.

    Returns:
        The configuration, with ``fused=True`` where that is possible.
    """
    kind = OPTIMIZERS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if kind is None or 'fused' not in inspect.signature(kind).parameters:
        return cfg
    devices = {parameter.device.type for group in groups for parameter in group['params']}
    if devices not in ({'cuda'}, {'cpu'}) or any(name in cfg for name in ALTERNATIVES):
        return cfg
    return {**cfg, 'fused': True}


def skips_on_device(optimizer: Optimizer) -> bool:
    """Whether a tensor ``found_inf`` keeps an optimizer from its step."""
    known: Any = optimizer
    takes_flag = getattr(known, '_step_supports_amp_scaling', False)
    return takes_flag and all(group.get('fused') for group in optimizer.param_groups)


def fused_as_now(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Give the groups of a stored state the implementation that the optimizer has now.

    A hook for ``register_load_state_dict_pre_hook``: torch takes ``fused`` from the file and
    decides by it on which device the count of steps lies.
    """
    groups = [
        {**stored, 'fused': own['fused']} if 'fused' in own else stored
        for stored, own in zip(state['param_groups'], optimizer.param_groups, strict=False)
    ]
    return {**state, 'param_groups': groups + state['param_groups'][len(groups) :]}
