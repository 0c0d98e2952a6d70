"""What a row needs that its own commands do not make, and the commands that do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from saip.experiments.reproduce.plan import Settings, weights_file
from saip.experiments.reproduce.tables import Row
from saip.experiments.reproduce.tasks import Task
from saip.experiments.reproduce.weights import Weights

CONVERTERS = 'python tools/dataset_converters/'
_PRETRAINING_DATA = {
    'LUP1M': 'make_luperson.py {data}/LUPerson {data}',
    'LUP2M': 'make_luperson.py {data}/LUPerson {data}',
    'LUP4M': 'make_luperson.py {data}/LUPerson {data}',
    'HP1M': 'make_hp1m.py {data} {data}/HP1M',
    'IN1K': 'make_in1k.py {data}/imagenet/train {data}/IN1K',
}


@dataclass(frozen=True)
class Need:
    """Something that has to be there.

    Attributes:
        what: a path, or a variable that has to name one.
        there: whether it is.
        how: command or place that makes it.
    """

    what: str
    there: bool
    how: str


def row_needs(row: Row, settings: Settings, task: str | None = None) -> list[Need]:
    """Everything that a row, or one of its tasks, needs from outside."""
    tasks = {cell.task.name: cell.task for cell in row.cells if task in (None, cell.task.name)}
    found = list(weights_needs(row.weights, settings))
    for one in tasks.values():
        found += task_needs(one, settings)
    return list(dict.fromkeys(found))  # several tasks may read one set


def weights_needs(weights: Weights, settings: Settings) -> Iterator[Need]:
    """What the weights of a row need."""
    if weights.published:
        file = weights_file(weights, settings)
        published = weights.published
        arguments = ' '.join(published.arguments)
        yield Need(
            file,
            Path(file).is_file(),
            f'fetch {published.url}; python tools/model_converters/{published.converter} FILE '
            f'{file} {arguments}',
        )
        return
    for name in weights.data:
        folder = Path(settings.data) / name
        how = CONVERTERS + _PRETRAINING_DATA[name].format(data=settings.data)
        yield Need(str(folder), folder.is_dir(), f'{how} (docs/data.md#the-sets-of-the-paper)')
    if weights.variable:
        name, usual, how = weights.variable
        yield _named_file(name, usual, how.format(data=settings.data))


def _named_file(name: str, usual: str, how: str) -> Need:
    """A file that a variable names, or that lies where the configurations look without it."""
    file = os.environ.get(name) or usual
    return Need(f'{name}={file}' if file else name, Path(file).is_file(), how)


def task_needs(task: Task, settings: Settings) -> Iterator[Need]:
    """What a task needs; ``none`` in a variable of its own is a trial, which its figure says."""
    for name, how in task.variables:
        if os.environ.get(name) != 'none':
            yield _named_file(name, '', f'{how}; {name}=none begins without it, for trials')
    converted = f'; {task.converted.format(data=settings.data)}' if task.converted else ''
    for name in task.data:
        path = Path(settings.data) / name
        yield Need(
            str(path),
            path.exists(),
            f'{task.page}#{task.section}; synthetic data in its place: {CONVERTERS}'
            f'make_people.py {settings.data} --datasets {task.drawn} --size small{converted}',
        )
