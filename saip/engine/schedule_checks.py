"""The learning rate of a whole run, computed before its first step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from mmengine.runner import EpochBasedTrainLoop, Runner

from saip.engine.schedules import Entry, changed, end_of, entries_of, is_warmup, kind_of
from saip.errors import StartError

LEAST_SHARE = 0.5
"""Share of the configured rate that a schedule has to reach: far less is a mistake."""

_FACTORS = {'Linear': 'start_factor', 'Constant': 'factor'}
_ABSOLUTE = ('OneCycle', 'ReduceOnPlateau')
"""Curves whose values do not follow from the configured rate and the step alone."""


def check_schedule(runner: Runner, resumed: bool = False) -> None:
    """Disable warm-ups of one step; refuse a schedule whose rate stays too low to learn.

    Args:
        runner: the runner, whose schedules are not yet built.
        resumed: the states of a checkpoint replace the configuration's values, so these are not
            looked at; see :mod:`saip.engine.stored_schedules`.

    Raises:
        StartError: a schedule ends before the run does, cannot be built, or the learning rate
            never reaches half of the configured one.
    """
    configured = runner.param_schedulers
    runner.param_schedulers = changed(
        configured, lambda key, entry: _without_one_step(runner, key, entry, resumed)
    )
    if not resumed:
        _check_configured(runner, configured)


def _check_configured(runner: Runner, configured: Any) -> None:
    groups: dict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
    for key, entry in entries_of(configured):
        _check_period(runner, key, entry)
        optimizer = key.rstrip('0123456789')
        groups[optimizer, kind_of(entry)[1]][key] = entry
    for (_, parameter), entries in groups.items():
        _check_lengths(runner, parameter, entries)
    rates: dict[str, dict[str, Entry]] = defaultdict(dict)
    for key, entry in entries_of(runner.param_schedulers):
        if kind_of(entry)[1] == 'learning rate':
            rates[key.rstrip('0123456789')][key] = entry
    for key, entries in rates.items():
        if all(kind_of(entry)[0] not in _ABSOLUTE for entry in entries.values()):
            _check_largest(runner, _configured_rate(runner, key), entries)


def steps_per_epoch(runner: Runner) -> int:
    """Micro-batches of an epoch."""
    return len(runner.train_loop.dataloader)


def _in_epochs(runner: Runner, entry: Entry, value: float) -> float:
    return value if entry.get('by_epoch', True) else value / steps_per_epoch(runner)


def _length(runner: Runner) -> float:
    """Length of the run in epochs."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return runner.max_epochs
    return runner.max_iters / steps_per_epoch(runner)


def _length_key(runner: Runner) -> str:
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return f'train_cfg.max_epochs={runner.max_epochs}'
    return f'train_cfg.max_iters={runner.max_iters}'


def _check_period(runner: Runner, key: str, entry: Entry) -> None:
    """Warn of a cosine whose half period is not its length."""
    end = end_of(entry)
    if end is None or 'T_max' not in entry:
        return
    span = end - entry.get('begin', 0)
    if abs(entry['T_max'] - span) > 0.5:
        runner.logger.warning(
            f'{key}.T_max={entry["T_max"]}, but from begin to end it is {span}: the schedule ends '
            'elsewhere than at its lowest value'
        )


def _check_lengths(runner: Runner, parameter: str, entries: Mapping[str, Entry]) -> None:
    """Compare where the schedules of one parameter end with the end of the run.

    Warm-ups alone may end before it. A run that is shorter than its schedule is a trial and only
    told so.
    """
    found = {key: end_of(entry) for key, entry in entries.items()}
    if None in found.values() or all(is_warmup(entry) for entry in entries.values()):
        return
    ends = {key: _in_epochs(runner, entries[key], end) for key, end in found.items() if end}
    if not ends:
        return
    last = max(ends, key=lambda key: ends[key])
    stated = f'{last}.end={entries[last]["end"]}'
    half_a_step = 0.5 / steps_per_epoch(runner)
    if ends[last] < _length(runner) - half_a_step:
        also = f' (and {last}.T_max)' if 'T_max' in entries[last] else ''
        raise StartError(
            f'{_length_key(runner)}, but {stated}: the {parameter} would stay at its last value '
            f'for the rest of the run. Set {last}.end{also} to the same length'
            f'{_switch(runner)}'
        )
    if ends[last] > _length(runner) + half_a_step:
        runner.logger.warning(
            f'{_length_key(runner)}, but {stated}: the run stops within its schedule, before the '
            f'{parameter} has reached its end. For a whole schedule that is as short, set both'
        )


def _switch(runner: Runner) -> str:
    """The variable that sets the length of this configuration in one place."""
    for name in ('SAIP_EPOCHS', 'SAIP_SCHEDULE'):
        if name in runner.cfg.text:
            return f', or set the length once, by {name}'
    return ''


def _without_one_step(runner: Runner, key: str, entry: Entry, resumed: bool) -> Entry:
    """A warm-up of at most one step as one that changes nothing; other schedules as they are.

    mmengine sets the first factor in the first step and leads away from it in the steps after:
    of one step, the rate stays at the first factor for ever. The place in the list is kept,
    since a checkpoint holds the states of the schedules by their places.
    """
    curve, _ = kind_of(entry)
    end = end_of(entry)
    if curve not in _FACTORS or end is None or not is_warmup(entry):
        return entry
    by_epoch = entry.get('by_epoch', True)
    if entry.get('convert_to_iter_based'):
        end, by_epoch = int(end * steps_per_epoch(runner)), False
    if end > 1 or entry.get('end_factor', 1) != 1:
        return entry
    if not resumed:
        runner.logger.warning(
            f'{key} ({entry["type"]}) is a warm-up of {end:g} '
            f'{"epoch" if by_epoch else "step"}, which has no effect and is disabled: the run '
            'begins with the full rate'
        )
    left_out = ('convert_to_iter_based', 'total_iters')
    mended = {name: deepcopy(x) for name, x in entry.items() if name not in left_out}
    return {**mended, 'by_epoch': by_epoch, 'begin': 0, 'end': 1, _FACTORS[curve]: 1.0}


def _configured_rate(runner: Runner, key: str) -> float | None:
    """``lr`` of the optimizer that the schedules at a key belong to; None if it has none."""
    wrapper = runner.cfg.get('optim_wrapper') or {}
    names = key.removeprefix('param_scheduler').strip('.').split('.')
    if names != ['']:
        wrapper = wrapper.get(names[0]) or {}
    return (wrapper.get('optimizer') or {}).get('lr')


def _check_largest(
    runner: Runner, configured: float | None, entries: Mapping[str, Entry]
) -> None:
    if not configured:
        return
    largest = 0.0
    try:
        for rate in _rates(runner, entries, configured):
            largest = max(largest, rate)
            if largest >= LEAST_SHARE * configured:
                return
    except (ValueError, AssertionError, ZeroDivisionError) as error:
        raise StartError(
            f'param_scheduler cannot be built for a run of {runner.max_iters} steps, '
            f'{steps_per_epoch(runner)} per epoch: {error}'
        ) from error
    said = (
        f'the learning rate of this run of {runner.max_iters} steps ({steps_per_epoch(runner)} '
        f'per epoch) never exceeds {largest:.3g}, {100 * largest / configured:.2g} % of '
        f'optim_wrapper.optimizer.lr={configured:g}'
    )
    within = [
        key
        for key, entry in entries.items()
        if is_warmup(entry)
        and _in_epochs(runner, entry, end_of(entry) or float('inf')) > _length(runner)
    ]
    if not within:
        raise StartError(f'{said}; train longer, or shorten the warm-up ({", ".join(entries)})')
    runner.logger.warning(f'{said}: it stops within the warm-up, {", ".join(within)}')


def _rates(runner: Runner, entries: Mapping[str, Entry], configured: float) -> Iterator[float]:
    """Yield the rate of every step, or of every epoch where no schedule counts steps."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=configured)
    schedulers: list[Any] = runner._build_param_scheduler(
        [deepcopy(dict(entry)) for entry in entries.values()], optimizer
    )
    optimizer.step()  # mmengine warns of schedules that move before the optimizer
    by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    has_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    per_epoch = steps_per_epoch(runner) if by_step or not has_epochs else 1
    for step in range(runner.max_epochs * per_epoch if has_epochs else runner.max_iters):
        yield optimizer.param_groups[0]['lr']
        for scheduler in by_step:
            scheduler.step()
        if has_epochs and (step + 1) % per_epoch == 0:
            for scheduler in by_epoch:
                scheduler.step()
