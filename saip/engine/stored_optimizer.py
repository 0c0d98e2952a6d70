"""The optimizer that a checkpoint holds, against that of the run that it is resumed in.

torch writes stored groups of parameters over those of the configuration, with their rates, and
ends with an error of its own where their number or kind differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.runner import Runner

from saip.engine.stored_schedules import ANEW
from saip.errors import InputError

Group = Mapping[str, Any]

_OF_A_KIND = ('momentum', 'dampening', 'nesterov', 'betas', 'alpha', 'rho', 'lambd', 'lr_decay')
"""Settings that tell optimizers of torch apart."""


def check_stored_optimizer(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Refuse the state of another optimizer; say so where rates or weight decay differ.

    Args:
        runner: a runner whose optimizer is built.
        checkpoint: the one to be resumed.

    Raises:
        InputError: the state is that of another optimizer or of other groups of parameters.
    """
    rates = []
    for name, own, stored in _pairs(runner.optim_wrapper.state_dict(), checkpoint):
        if len(own) != len(stored):
            raise InputError(
                f'--resume: {name} has {len(own)} groups of parameters here and {len(stored)} in '
                f'the checkpoint (paramwise_cfg, constructor, or weight decay differ); {ANEW}'
            )
        kinds = _kind(own[0]), _kind(stored[0])
        if kinds[0] != kinds[1]:
            raise InputError(
                f'--resume: {name} has the settings {", ".join(kinds[0])} here, and the checkpoint '
                f'the state of one with {", ".join(kinds[1])}; {ANEW}'
            )
        rates += [
            (key, here, there)
            for one, other in zip(own, stored, strict=True)
            for key, here, there in _differences(one, other)
        ]
    if rates:
        key, here, there = rates[0]
        runner.logger.warning(
            f'this configuration begins with a {key} of {here:g}, the run of the checkpoint began '
            f'with {there:g}: that of the checkpoint is used. For the new one begin a new run'
        )


def _kind(group: Group) -> list[str]:
    found = [key for key in _OF_A_KIND if key in group]
    # Adam adds weight decay to gradients; AdamW has the same settings.
    return [*found, 'decoupled decay'] if group.get('decoupled_weight_decay') else found


def _differences(own: Group, stored: Group) -> Iterator[tuple[str, float, float]]:
    for key, words in (('lr', 'learning rate'), ('weight_decay', 'weight decay')):
        begun = f'initial_{key}'
        if begun in own and begun in stored:
            key = begun
        elif begun in own or begun in stored or key == 'lr':
            continue  # nothing says with which value it began
        if own[key] != stored[key]:
            yield words, own[key], stored[key]


def _pairs(
    own: Mapping[str, Any], checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, list[Group], list[Group]]]:
    """Yield the groups of every optimizer, built and stored."""
    stored = checkpoint.get('optimizer') or {}
    if 'param_groups' in own:
        yield 'the optimizer', own['param_groups'], stored.get('param_groups', [])
        return
    for name in own:
        groups = stored.get(name, {}).get('param_groups', [])
        yield f'the optimizer of {name}', own[name]['param_groups'], groups
