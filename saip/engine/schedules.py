"""What a configuration's ``param_scheduler`` says, entry by entry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ENDLESS = 1e9
"""mmengine's INF: an ``end`` that is none."""

_PARAMETER = re.compile(r'^(.*?)(LR|Momentum|WeightDecay|ParamScheduler)$')
_NAMES = {'LR': 'learning rate', 'Momentum': 'momentum', 'WeightDecay': 'weight decay'}

Entry = Mapping[str, Any]


def entries_of(schedulers: Any, key: str = 'param_scheduler') -> Iterator[tuple[str, Entry]]:
    """Yield the schedules of a configuration with the dotted key of each.

    A configuration has one, a list, or for several optimizers a dict of lists. What is built
    already is passed over.
    """
    if isinstance(schedulers, Mapping) and 'type' in schedulers:
        yield key, schedulers
    elif isinstance(schedulers, Mapping):
        for name, below in schedulers.items():
            yield from entries_of(below, f'{key}.{name}')
    elif isinstance(schedulers, list | tuple):
        for index, below in enumerate(schedulers):
            yield from entries_of(below, f'{key}.{index}')


def changed(
    schedulers: Any, change: Callable[[str, Entry], Entry], key: str = 'param_scheduler'
) -> Any:
    """Schedules in the same structure, each replaced by what ``change`` returns for it."""
    if isinstance(schedulers, Mapping) and 'type' in schedulers:
        return change(key, schedulers)
    if isinstance(schedulers, Mapping):
        return {name: changed(x, change, f'{key}.{name}') for name, x in schedulers.items()}
    if isinstance(schedulers, list | tuple):
        return [changed(x, change, f'{key}.{i}') for i, x in enumerate(schedulers)]
    return schedulers


def kind_of(entry: Entry) -> tuple[str, str]:
    """Curve and parameter of a schedule: ``('Linear', 'learning rate')`` for ``LinearLR``."""
    cls = entry['type']
    name = cls.rsplit('.', 1)[-1] if isinstance(cls, str) else cls.__name__
    found = _PARAMETER.match(name)
    if found is None:
        return name, str(entry.get('param_name', name))
    curve, suffix = found.groups()
    return curve, _NAMES.get(suffix, str(entry.get('param_name')))


def is_warmup(entry: Entry) -> bool:
    """Whether a schedule begins with the run below its parameter's value and leads up to it."""
    if entry.get('begin', 0) != 0:
        return False
    curve, _ = kind_of(entry)
    if curve == 'Linear':  # the defaults are mmengine's
        return bool(entry.get('start_factor', 1 / 3) <= entry.get('end_factor', 1.0))
    if curve == 'Constant':
        return bool(entry.get('factor', 1 / 3) <= 1)
    return curve == 'QuadraticWarmup'


def end_of(entry: Entry) -> float | None:
    """Where a schedule ends, in its own unit; None with the run."""
    end = entry.get('end')
    return end if isinstance(end, int | float) and end < ENDLESS else None
