"""The figures of a benchmark as an image."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, NullFormatter

from suite.figures import Curve, Figure, Part, shown

OURS, EVEN = '#1f5fa8', '#b3382c'
DPI = 130


def draw(part: Part, path: Path) -> None:
    """Draw ratios as bars and costs as curves into a PNG file."""
    ratios = [f for f in part.figures if f.unit == 'x' and f.value is not None]
    columns = 3
    rows = -(-len(part.curves) // columns)
    canvas = Canvas(figsize=(12, 1.2 + 0.34 * len(ratios) + 2.6 * rows), layout='constrained')
    FigureCanvasAgg(canvas)
    heights = [1.2 + 0.34 * len(ratios), *[2.6] * rows]
    grid = canvas.add_gridspec(1 + rows, columns, height_ratios=heights)
    if ratios:
        draw_ratios(canvas.add_subplot(grid[0, :]), ratios)
    for number, curve in enumerate(part.curves):
        at = grid[1 + number // columns, number % columns]
        draw_curve(canvas.add_subplot(at), curve)
    canvas.savefig(path, dpi=DPI)


def draw_ratios(axes, figures: list[Figure]) -> None:
    """Bars of time over time, from above, with the range of the rounds."""
    values = [figure.value for figure in figures]
    below = [f.value - (f.value if f.low is None else f.low) for f in figures]
    above = [(f.value if f.high is None else f.high) - f.value for f in figures]
    axes.barh(
        [figure.what for figure in figures], values, xerr=(below, above), color=OURS, height=0.6
    )
    axes.axvline(1.0, color=EVEN, linewidth=1)
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_xlabel('times')
    for number, value in enumerate(values):
        axes.annotate(f' {shown(value)}', (value, number), va='bottom', fontsize=8)
    axes.spines[['top', 'right']].set_visible(False)


def draw_curve(axes, curve: Curve) -> None:
    """Cost at every value of the axis."""
    names, costs = zip(*curve.points, strict=True)
    axes.plot(names, costs, 'o-', color=OURS)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(curve.axis)
    axes.set_ylabel(curve.unit, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)
