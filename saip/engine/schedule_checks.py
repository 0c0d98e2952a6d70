"""The learning rate of a whole run, computed before its first step."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.optim import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from saip.engine.start_checks import StartError, schedule_entries

REACHED = 0.5
"""Share of the configured rate that a schedule has to reach: far less is a mistake."""

_WARMUP = re.compile(r'(?:^|\.)(Linear|Constant)(?:LR|Momentum|ParamScheduler)$')
_FACTORS = {'Linear': 'start_factor', 'Constant': 'factor'}


def check_schedule(runner: Runner) -> None:
    """Mend warm-ups of one step; refuse a schedule that leaves the rate where nothing is learnt.

    Args:
        runner: the runner, whose schedules are not yet built.

    Raises:
        StartError: the schedule ends before the run does, cannot be built, or never reaches half
            of the configured rate.
    """
    schedulers = runner.param_schedulers
    entries = dict(schedule_entries(schedulers))
    if not entries or any(isinstance(entry, _ParamScheduler) for entry in entries.values()):
        return
    _check_lengths(runner, entries)
    for key, entry in list(entries.items()):
        entries[key] = _mended(runner, key, entry)
    runner.param_schedulers = list(entries.values())
    rates = {
        key: entry
        for key, entry in entries.items()
        if str(entry['type']).endswith('LR') and 'ReduceOnPlateau' not in str(entry['type'])
    }
    if rates:
        _check_largest(runner, rates)


def _epochs(runner: Runner, entry: Mapping[str, Any], value: float) -> float:
    """An ``end`` or ``begin`` of a schedule in epochs of the run."""
    return value if entry.get('by_epoch', True) else value / _per_epoch(runner)


def _per_epoch(runner: Runner) -> int:
    return len(runner.train_loop.dataloader)


def _length(runner: Runner) -> float:
    """Length of the run in epochs."""
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return runner.max_epochs
    return runner.max_iters / _per_epoch(runner)


def _length_key(runner: Runner) -> str:
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return f'train_cfg.max_epochs={runner.max_epochs}'
    return f'train_cfg.max_iters={runner.max_iters}'


def _check_lengths(runner: Runner, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare where the schedules end with the end of the run.

    Only warm-ups may end before it. A run that is shorter than its schedule is a trial and only
    told so.
    """
    ends = {
        key: _epochs(runner, entry, entry['end'])
        for key, entry in entries.items()
        if isinstance(entry.get('end'), int | float) and not _WARMUP.search(str(entry['type']))
    }
    for key, entry in entries.items():
        span = entry.get('end', 0) - entry.get('begin', 0)
        if 'T_max' in entry and key in ends and abs(entry['T_max'] - span) > 0.5:
            runner.logger.warning(
                f'{key}.T_max={entry["T_max"]}, but from begin to end it is {span}: the rate ends '
                'elsewhere than at its lowest value'
            )
    if not ends:
        return
    last = max(ends, key=lambda key: ends[key])
    stated = f'{last}.end={entries[last]["end"]}'
    half_a_step = 0.5 / _per_epoch(runner)
    if ends[last] < _length(runner) - half_a_step:
        also = f' (and {last}.T_max)' if 'T_max' in entries[last] else ''
        raise StartError(
            f'{_length_key(runner)}, but {stated}: the rate would stay at its last value for the '
            f'rest of the run. Set {last}.end{also} to the same length, or give the length once: '
            'SAIP_EPOCHS for the short pretraining, SAIP_SCHEDULE for a fine-tuning'
        )
    if ends[last] > _length(runner) + half_a_step:
        runner.logger.warning(
            f'{_length_key(runner)}, but {stated}: the run stops within its schedule, before the '
            'rate has fallen. For a whole one that is as short, set both'
        )


def _mended(runner: Runner, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """A warm-up of at most one step as one that changes nothing; other schedules as they are.

    mmengine sets the first factor in the first step and leads away from it in the steps after:
    of one step, the rate stays at the first factor for ever. The place in the list is kept,
    since a checkpoint holds the states of the schedules by their places.
    """
    found = _WARMUP.search(str(entry['type']))
    mended: dict[str, Any] = copy.deepcopy(dict(entry))
    if found is None or 'end' not in entry:
        return mended
    begin, end = entry.get('begin', 0), entry['end']
    if entry.get('convert_to_iter_based'):
        begin, end = (int(value * _per_epoch(runner)) for value in (begin, end))
        mended.update(by_epoch=False)
    if end - begin > 1 or entry.get('end_factor', 1) != 1:
        return dict(entry)
    unit = 'epoch' if mended.get('by_epoch', True) else 'step'
    unit += '' if end - begin == 1 else 's'
    runner.logger.warning(
        f'{key} ({entry["type"]}) is a warm-up of {end - begin:g} {unit}, which is none: the run '
        'begins with the full rate'
    )
    mended.pop('convert_to_iter_based', None)
    mended.pop('total_iters', None)
    mended.update(begin=begin, end=begin + 1)
    mended[_FACTORS[found.group(1)]] = 1.0
    return mended


def _check_largest(runner: Runner, entries: Mapping[str, Mapping[str, Any]]) -> None:
    wrapper = runner.cfg.get('optim_wrapper') or {}
    configured = (wrapper.get('optimizer') or {}).get('lr') or 1.0
    try:
        rates = _rates(runner, entries, configured)
        largest = next((rate for rate in rates if rate > 0.999 * configured), None)
        if largest is not None:
            return
        largest = max(_rates(runner, entries, configured))
    except (ValueError, AssertionError, ZeroDivisionError) as error:
        raise StartError(
            f'param_scheduler cannot be built for a run of {runner.max_iters} steps, '
            f'{_per_epoch(runner)} per epoch: {error}'
        ) from error
    if largest >= REACHED * configured:
        return
    said = (
        f'the learning rate of this run of {runner.max_iters} steps ({_per_epoch(runner)} per '
        f'epoch) never exceeds {largest:.3g}, {100 * largest / configured:.2g} % of '
        f'optim_wrapper.optimizer.lr={configured:g}'
    )
    within = [
        key
        for key, entry in entries.items()
        if _epochs(runner, entry, entry.get('end', 0)) > _length(runner)
    ]
    if not within:
        raise StartError(
            f'{said}: next to nothing would be learnt; train longer, or shorten the warm-up '
            f'({", ".join(entries)})'
        )
    runner.logger.warning(f'{said}: it stops within {", ".join(within)}')


def _rates(
    runner: Runner, entries: Mapping[str, Mapping[str, Any]], configured: float
) -> Iterator[float]:
    """Yield the rate of every step, or of every epoch where no schedule counts steps."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=configured)
    schedulers = runner._build_param_scheduler(
        [copy.deepcopy(dict(entry)) for entry in entries.values()],
        optimizer,
    )
    optimizer.step()  # mmengine warns of schedules that move before the optimizer
    by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    has_epochs = isinstance(runner.train_loop, EpochBasedTrainLoop)
    per_epoch = _per_epoch(runner) if by_step or not has_epochs else 1
    for step in range(runner.max_epochs * per_epoch if has_epochs else runner.max_iters):
        yield optimizer.param_groups[0]['lr']
        for scheduler in by_step:
            scheduler.step()
        if has_epochs and (step + 1) % per_epoch == 0:
            for scheduler in by_epoch:
                scheduler.step()
