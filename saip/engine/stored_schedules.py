"""The schedules that a checkpoint holds, against those of the run that it is resumed in.

mmengine builds the configuration's schedules and then writes the stored states into them, by their
places and whatever they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from saip.engine.schedules import ENDLESS
from saip.errors import InputError

State = Mapping[str, Any]

ANEW = (
    'resume with the configuration of that run, which lies in its work dir, or begin a new run '
    'from these weights (model.init_from, load_from)'
)


def check_stored(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Refuse states that do not fit the schedules.

    Args:
        runner: a runner whose schedules are built.
        checkpoint: the one to be resumed.

    Raises:
        InputError: the states are those of other schedules, or of a warm-up of one step, whose
            rate never leaves its first factor.
    """
    for key, scheduler, state in _pairs(runner.param_schedulers, checkpoint):
        own = scheduler.state_dict()
        if state.keys() != own.keys():
            raise InputError(
                f'--resume: {key} is a {type(scheduler).__name__} here, and the state of another '
                f'kind of schedule in the checkpoint; {ANEW}'
            )
        factor = state.get('start_factor', state.get('factor', 1.0))
        if state.get('total_iters') == 0 and factor < 1:
            raise InputError(
                f'--resume: the checkpoint was trained with a warm-up of one step ({key}), after '
                f'which the {state.get("param_name", "rate")} stays at {factor:g} of its value for '
                'the whole run; begin anew'
            )


def last_step(checkpoint: Mapping[str, Any]) -> int | None:
    """Step with which the learning rate's schedules end; None if none of them counts steps."""
    ends = [
        state['end']
        for state in _states(checkpoint.get('param_schedulers'))
        if state.get('param_name') == 'lr' and not state.get('by_epoch', True)
    ]
    return int(max(ends)) if ends and max(ends) < ENDLESS else None


def _pairs(
    built: Any, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[str, _ParamScheduler, State]]:
    """Yield built schedules with their stored states.

    Raises:
        InputError: there are more or fewer.
    """
    stored = checkpoint.get('param_schedulers')
    if built is None or stored is None:
        return
    groups = built if isinstance(built, Mapping) else {'': built}
    states = stored if isinstance(stored, Mapping) else {'': stored}
    for name, schedulers in groups.items():
        there = states.get(name, [])
        if len(there) != len(schedulers):
            raise InputError(
                f'--resume: param_scheduler has {len(schedulers)} schedules, and the checkpoint '
                f'the states of {len(there)}; {ANEW}'
            )
        prefix = f'param_scheduler.{name}.' if name else 'param_scheduler.'
        for index, pair in enumerate(zip(schedulers, there, strict=True)):
            yield f'{prefix}{index}', *pair


def _states(stored: Any) -> Iterator[State]:
    if isinstance(stored, Mapping):
        stored = [state for group in stored.values() for state in group]
    yield from stored or []


def warn_of_early_end(runner: Runner, checkpoint: Mapping[str, Any]) -> None:
    """Say so where the learning rate's schedules end before the run does."""
    states = [s for s in _states(checkpoint.get('param_schedulers')) if 'end' in s]
    rates = [state for state in states if state.get('param_name') == 'lr']
    if not rates or all('start_factor' in s and s['begin'] == 0 for s in rates):
        return
    by_epoch = all(state['by_epoch'] for state in rates)
    if any(state['by_epoch'] is not by_epoch for state in rates):
        return
    unit, length = ('epoch', runner.max_epochs) if by_epoch else ('step', runner.max_iters)
    if by_epoch and not isinstance(runner.train_loop, EpochBasedTrainLoop):
        return
    end = max(state['end'] for state in rates)
    if end < length:
        runner.logger.warning(
            f'the schedule in the checkpoint ends with {unit} {end}, the run with {length}: the '
            'learning rate stays at its last value for the rest. For a longer schedule begin a '
            'new run from these weights (model.init_from, load_from)'
        )
