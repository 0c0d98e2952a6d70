"""The tables: rows, what they begin with, and the printed figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saip.errors import InputError
from saip.experiments.reproduce import notes
from saip.experiments.reproduce.printed import (
    CAE,
    TABLE_I,
    TABLE_II,
    TABLE_III,
    TABLE_V,
    TABLE_VI,
    TABLE_VII,
)
from saip.experiments.reproduce.tasks import TASKS, Column, Task
from saip.experiments.reproduce.weights import (
    ENCODERS,
    LABELED,
    Weights,
    ablated,
    from_scratch,
    of_imagenet,
    pretrained,
    supervised,
)


@dataclass(frozen=True)
class Cell:
    """One figure of a table: a fine-tuning's, by one of its columns.

    Attributes:
        task: the fine-tuning.
        column: its figure.
        paper: as printed.
        share: of the schedule.
    """

    task: Task
    column: Column
    paper: str
    share: float = 1.0


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: by which the command line names it.
        words: its first columns, as the paper prints them.
        weights: that its fine-tunings begin with.
        cells: its figures.
        note: what the paper leaves open about it, or ''.
    """

    name: str
    words: tuple[str, ...]
    weights: Weights
    cells: tuple[Cell, ...]
    note: str = ''


@dataclass(frozen=True)
class Table:
    """A table whose figures are results of fine-tunings.

    Attributes:
        name: on the command line.
        title: one line.
        heads: of the first columns.
        rows: of the table.
        notes: what a reader has to know of all rows.
    """

    name: str
    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def find(self, name: str) -> Row:
        """The row of this name.

        Raises:
            InputError: there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        known = ', '.join(row.name for row in self.rows)
        raise InputError(f'--run {name}: {self.name} has no such row; choose one of {known}')


_ABLATED = ('market1501', 'pa100k', 'lip')


def _cells(tasks: tuple[str, ...], values: list[str], share: float = 1.0) -> tuple[Cell, ...]:
    """One cell for each value: of all columns of the tasks, or of the first of each."""
    places = [(TASKS[name], column) for name in tasks for column in TASKS[name].columns]
    if len(places) != len(values):
        places = [(TASKS[name], TASKS[name].columns[0]) for name in tasks]
    return tuple(
        Cell(task, column, value, share)
        for (task, column), value in zip(places, values, strict=True)
    )


def _compared(figures: str, tasks: tuple[str, ...]) -> Iterator[Row]:
    """Rows of Tables I to III."""
    for line in figures.strip().splitlines():
        method, encoder, *values = line.split()
        labeled = method == 'supervised'
        weights = supervised(encoder) if labeled else pretrained(method, encoder)
        note = weights.published.open if weights.published else ''
        data = LABELED[encoder] if labeled else 'LUP1M'
        name = f'{method.lower()}_{encoder}'.replace('*', '-star').replace('+', '-')
        words = (method.capitalize() if labeled else method, ENCODERS[encoder], data)
        yield Row(name, words, weights, _cells(tasks, values), note)


def _objectives() -> Iterator[Row]:
    """Rows of Table IV."""
    vit = 'vit-tiny-p16'
    labeled = supervised(vit)
    assert labeled.published
    yield Row('none', ('None', '-'), from_scratch(vit), _ablation('77.1 65.8 40.6'))
    figures = _ablation('89.3 74.5 48.9')
    yield Row('supervised', ('Supervised', 'IN1K'), labeled, figures, labeled.published.open)
    for names, printed, note in (
        ('csm', '92.3 78.6 49.6', notes.SINGLE),
        ('csr', '87.1 72.4 45.2', notes.SINGLE),
        ('css', '89.1 75.2 47.8', notes.SINGLE),
        ('csm csr', '93.3 80.4 51.1', notes.PAIRS),
        ('csm css', '92.2 79.1 50.7', notes.PAIRS),
        ('csm csr css', '93.6 80.7 52.3', notes.ALL_THREE),
    ):
        weights = ablated(*names.split())
        words = (names.upper(), 'LUP1M')
        yield Row(names.replace(' ', '-'), words, weights, _ablation(printed), note)


def _ablation(figures: str) -> tuple[Cell, ...]:
    return _cells(_ABLATED, figures.split())


def _lines(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.strip().splitlines():
        head, *values = line.split()
        yield head, values


def _by_data() -> Iterator[Row]:
    """Rows of Table V."""
    for name, values in _lines(TABLE_V):
        sets = tuple(name.split('+'))
        weights = pretrained('SAIP', 'vit-tiny-p16', sets)
        note = notes.DRAW if 'LUP' in name else ''
        yield Row(
            name.lower().replace('+', '-'), (name,), weights, _cells(_ABLATED, values), note
        )


def _by_share() -> Iterator[Row]:
    """Rows of Table VI."""
    weights = pretrained('SAIP', 'vit-tiny-p16')
    for share, values in _lines(TABLE_VI):
        cells = _cells(_ABLATED, values, float(share))
        yield Row(share, (f'{float(share):.0%}',), weights, cells)


def _unseen() -> Iterator[Row]:
    """Rows of Table VII."""
    for name, values in _lines(TABLE_VII):
        weights = pretrained(name, 'vit-tiny-p16')
        cells = _cells(('humanart', 'chimpact', 'ap10k'), values)
        yield Row(name.lower().replace('+', '-'), (name,), weights, cells)


def _of_cae() -> Iterator[Row]:
    """Rows of the table of CAE's README."""
    rates = {'300': 'ade20k-lr3e-4', '800': 'ade20k-lr2e-4', '1600': 'ade20k'}
    for model, (epochs, *values) in _lines(CAE):
        method, size = model.split('-')
        weights = of_imagenet(method, size, int(epochs))
        tasks = ('linear', 'attentive', 'imagenet', rates[epochs], 'coco-objects')
        note = notes.CAE_MAE if method == 'MAE' else ''
        name = f'{model.lower()}-{epochs}e'
        yield Row(name, (model, 'IN1K', epochs), weights, _cells(tasks, values), note)


_HEADS = ('method', 'encoder', 'pretraining data')
_SINGLE = ('market1501', 'msmt17', 'cuhk-pedes', 'icfg-pedes', 'pa100k', 'petazs')
_COMMON = (notes.RECIPE, notes.STRIDE, notes.SEEDS)
_ALL = (
    Table(
        'table1',
        'Table I: single-person discrimination',
        _HEADS,
        tuple(_compared(TABLE_I, _SINGLE)),
        _COMMON,
    ),
    Table(
        'table2',
        'Table II: single-person dense prediction',
        _HEADS,
        tuple(_compared(TABLE_II, ('coco', 'wholebody', 'lip'))),
        (*_COMMON, notes.BOXES, notes.SCALES),
    ),
    Table(
        'table3',
        'Table III: multi-person understanding',
        _HEADS,
        tuple(_compared(TABLE_III, ('crowdhuman', 'cihp', 'fashionpedia'))),
        (*_COMMON, notes.PARSING_AP),
    ),
    Table(
        'table4',
        'Table IV: the three objectives, ViT-Tiny',
        ('objectives', 'pretraining data'),
        tuple(_objectives()),
        (notes.SEEDS,),
    ),
    Table(
        'table5',
        'Table V: pretraining data, SAIP ViT-Tiny',
        ('pretraining data',),
        tuple(_by_data()),
        (notes.COUNTS, notes.SEEDS),
    ),
    Table(
        'table6',
        'Table VI: shorter fine-tuning, SAIP ViT-Tiny',
        ('schedule',),
        tuple(_by_share()),
        (notes.ROUNDED, notes.SEEDS),
    ),
    Table(
        'table7',
        'Table VII: unseen domains, ViT-Tiny, pose',
        ('method',),
        tuple(_unseen()),
        (notes.DOMAINS, notes.HUMANART, notes.RECIPE, notes.SEEDS),
    ),
    Table(
        'cae',
        "The table of CAE's README: ImageNet, ADE20K, COCO",
        ('model', 'pretraining data', 'epochs'),
        tuple(_of_cae()),
        (notes.CAE_PROBES, notes.CAE_DENSE),
    ),
)
TABLES = {table.name: table for table in _ALL}
"""Tables I to VII, and CAE's."""
