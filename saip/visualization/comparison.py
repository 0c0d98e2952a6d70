"""An image of a comparison: a panel for each figure, a line for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from saip.visualization.curves import COLORS, to_image

NAME_WIDTH = 34
"""Characters of a line of a row's name."""

_COLORS = {'trained': COLORS[0], 'given': COLORS[1], 'baseline': '#8a8f98'}


def draw_comparison(
    summary: Sequence[Mapping[str, Any]], scores: Sequence[str], title: str
) -> Image.Image:
    """Draw means as dots, seeds as small ones, and intervals as lines.

    Args:
        summary: rows with ``row``, ``kind`` and ``metrics``, by name ``mean``, ``values`` and,
            where there is one, ``interval``.
        scores: the figures that are drawn, in percent; those that no row has are left out.
        title: above the panels.
    """
    drawn = [name for name in scores if any(name in row['metrics'] for row in summary)]
    names = ['\n'.join(wrap(row['row'], NAME_WIDTH)) for row in summary]
    height = 1.2 + 0.34 * sum(max(1, name.count('\n') * 0.6 + 0.7) for name in names)
    figure = Figure(figsize=(2.2 + 2.1 * len(drawn), height), layout='constrained')
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, drawn, strict=True):
        for place, row in enumerate(summary):
            if name in row['metrics']:
                _draw_row(axes, place, row['metrics'][name], _COLORS[row['kind']])
        _tidy(axes, name)
        shown = [row['metrics'][name] for row in summary if name in row['metrics']]
        ends = [x for one in shown for x in (*one['values'], *one.get('interval', ()))]
        axes.set_xlim(0, 1.15 * max(1.0, *ends))
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(title, fontsize=9, x=0.01, ha='left')
    return to_image(figure)


def _draw_row(axes: Axes, place: int, metric: Mapping[str, Any], color: str) -> None:
    if 'interval' in metric:
        axes.plot(metric['interval'], [place] * 2, color=color, alpha=0.45, linewidth=3)
    values = metric['values']
    if len(values) > 1:
        axes.plot(values, [place] * len(values), '|', color=color, ms=8, alpha=0.8)
    axes.plot(metric['mean'], place, 'o', color=color, ms=6 if metric.get('best') else 4.5)
    weight = 'bold' if metric.get('best') else 'normal'
    mark = ' =' if metric.get('tie') else ''
    axes.annotate(
        f'{metric["mean"]:.1f}{mark}',
        (metric['mean'], place),
        xytext=(0, 5),
        textcoords='offset points',
        ha='center',
        fontsize=7,
        fontweight=weight,
    )


def _tidy(axes: Axes, name: str) -> None:
    axes.set_title(name, loc='left', fontsize=9)
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.grid(color='#e3e3e3', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, left=False)
