"""What is measured, and its forms as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from suite.interleaved import Ratio


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: a key.
        what: what it is, in words.
        value: None if it was not measured.
        unit: ``x`` for a ratio.
        goal: what it should be, in words; empty for none.
        low: smallest of the rounds, where there are several.
        high: largest of the rounds.
        note: how it was measured, or why it was not.
        group: title of its table.
    """

    name: str
    what: str
    value: float | None
    unit: str = 'x'
    goal: str = ''
    low: float | None = None
    high: float | None = None
    note: str = ''
    group: str = 'Figures'

    @classmethod
    def of_ratio(cls, name: str, what: str, ratio: Ratio, **others: Any) -> Figure:
        """A ratio with its range."""
        return cls(name, what, ratio.median, 'x', low=ratio.low, high=ratio.high, **others)

    @classmethod
    def missing(cls, name: str, what: str, reason: str, **others: Any) -> Figure:
        """A value that cannot be measured here."""
        return cls(name, what, None, note=reason, **others)

    def written(self) -> str:
        """Value and range."""
        if self.value is None:
            return 'not measured'
        unit = ' times' if self.unit == 'x' else f' {self.unit}'.rstrip()
        text = f'{shown(self.value)}{unit}'
        if self.low is None or self.high is None:
            return text
        return f'{text} ({shown(self.low)} to {shown(self.high)})'


@dataclass(frozen=True)
class Curve:
    """Cost against work.

    Attributes:
        name: a key.
        axis: what is varied.
        unit: of the cost.
        points: value of the axis as text, and cost.
    """

    name: str
    axis: str
    unit: str
    points: list[tuple[str, float]]


@dataclass
class Part:
    """What one part of the benchmark found."""

    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)


def shown(value: float) -> str:
    """A number with about three digits."""
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f'{value:,.{digits}f}'
    return f'{value:.3g}'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def as_json(part: Part, about: dict[str, Any]) -> dict[str, Any]:
    """Plain values of everything."""
    return {
        'about': about,
        'figures': {figure.name: asdict(figure) for figure in part.figures},
        'curves': {curve.name: asdict(curve) for curve in part.curves},
    }


def as_markdown(part: Part, about: dict[str, Any], title: str, image: str | None) -> str:
    """A report: the machine, the figures by group, the curves."""
    blocks = [f'# {title}', '; '.join(f'{key}: {value}' for key, value in about.items())]
    blocks += [f'![figures]({image})'] if image else []
    for group in dict.fromkeys(figure.group for figure in part.figures):
        rows = [
            (figure.what, figure.written(), figure.goal or '-', figure.note or '-')
            for figure in part.figures
            if figure.group == group
        ]
        blocks += [f'## {group}', table(('what', 'value', 'goal', 'how'), rows)]
    if part.curves:
        blocks.append('## Cost against work')
    for curve in part.curves:
        header = (curve.axis, *(at for at, _ in curve.points))
        blocks.append(table(header, [(curve.unit, *(shown(y) for _, y in curve.points))]))
    return '\n\n'.join(blocks) + '\n'
