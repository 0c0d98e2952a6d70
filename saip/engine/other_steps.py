"""A resumed run whose epochs have other steps goes on at the same share of its images."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from mmengine.runner import Runner

from saip.engine.schedules import entries_of
from saip.errors import InputError


def follow_images(runner: Runner, checkpoint: dict[str, Any], then: int, now: int) -> str:
    """Move a checkpoint to the step at which as many images have been seen, in place.

    Momentum and temperatures follow from the number of the step. Schedules that count steps get
    the states that the configuration's have there, with the rates that the checkpoint began with.

    Args:
        runner: the runner, whose loop counts epochs and whose schedules are built.
        checkpoint: the one that is about to be resumed.
        then: steps per epoch of its run.
        now: steps per epoch of this one.

    Returns:
        A sentence that says so.

    Raises:
        InputError: schedules count steps and cannot be moved: those of several optimizers, or one
            that follows a metric among them.
    """
    meta = checkpoint['meta']
    before = meta['iter']
    accumulated = int((runner.cfg.get('optim_wrapper') or {}).get('accumulative_counts') or 1)
    meta['iter'] = moved_step(meta['epoch'], before, then, now, accumulated)
    if _counts_steps(checkpoint.get('param_schedulers')):
        _move_schedules(runner, checkpoint, now)
    total = then * runner.max_epochs
    return (
        'Schedules, momentum and temperatures follow the images that were seen: step '
        f'{before} of {total} is step {meta["iter"]} of {now * runner.max_epochs} now'
    )


def moved_step(epoch: int, step: int, then: int, now: int, accumulated: int = 1) -> int:
    """The step of ``now`` steps per epoch at which the images of ``step`` have been seen.

    It is rounded to the end of a window of accumulated gradients, but not beyond the epoch.
    """
    within = step - epoch * then
    moved = epoch * now + round(within * now / then)
    moved += -moved % accumulated
    return min(moved, (epoch + 1) * now)


def _counts_steps(stored: Any) -> bool:
    if isinstance(stored, Mapping):
        return any(_counts_steps(states) for states in stored.values())
    return any(not state.get('by_epoch', True) for state in stored or [])


def _move_schedules(runner: Runner, checkpoint: dict[str, Any], per_epoch: int) -> None:
    """Replace the states of schedules, and what they set in the optimizer's groups."""
    groups = checkpoint['optimizer'].get('param_groups')
    stored = checkpoint['param_schedulers']
    if groups is None or isinstance(stored, Mapping) or any('patience' in s for s in stored):
        raise InputError(
            '--resume: the steps per epoch are others than those of the checkpoint, and '
            'param_scheduler, which counts steps, belongs to several optimizers or follows a '
            'metric: resume with the former batch size, processes and images'
        )
    optimizer = _at_the_start(groups)
    entries = entries_of(runner.cfg.param_scheduler)
    schedulers: list[Any] = runner._build_param_scheduler(
        [deepcopy(dict(entry)) for _, entry in entries], optimizer
    )
    optimizer.step()  # mmengine warns of schedules that move before the optimizer
    for step in range(checkpoint['meta']['iter']):
        for scheduler in schedulers:
            if not scheduler.by_epoch or (step + 1) % per_epoch == 0:
                scheduler.step()
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in schedulers]
    for group, moved in zip(groups, optimizer.param_groups, strict=True):
        group.update({key: moved[key] for key in group if f'initial_{key}' in group})


def _at_the_start(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """An optimizer of groups with the values that theirs began with."""
    starts = []
    for group in groups:
        values = {key: value for key, value in group.items() if key != 'params'}
        first = {key: values[f'initial_{key}'] for key in values if f'initial_{key}' in values}
        weight = torch.zeros(1, requires_grad=True)
        starts.append({'params': [weight], 'lr': 0.0, **values, **first})
    return torch.optim.SGD(starts, lr=0.0)
