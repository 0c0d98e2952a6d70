"""Curves of a run: what mmengine logged, drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from saip.errors import InputError, MissingFileError

Curve = list[tuple[float, float]]
"""Points (step, value), by step."""

COLORS = (
    '#1f5fa8',
    '#d1731c',
    '#2f8f5b',
    '#8a4fa3',
    '#b3382c',
    '#5d6b7a',
    '#0f8c9b',
    '#a3781f',
)
DPI = 160
NOT_CURVES = {'step', 'epoch', 'iter', 'time', 'data_time', 'memory', 'eta'}


def read_scalars(work_dir: str | Path) -> dict[str, Curve]:
    """Read what mmengine logged below a work directory, resumed runs joined.

    A later run overwrites the steps of an earlier one from where it resumed.

    Args:
        work_dir: contains ``<time>/vis_data/scalars.json``.

    Returns:
        By name of the scalar, its curve. Validation scalars have the epoch (or iteration, in
        runs by iteration) as step.

    Raises:
        FileNotFoundError: nothing was logged there.
    """
    curves: dict[str, Curve] = {}
    for file in _scalar_files(work_dir):
        for name, curve in _read_file(file).items():
            first = curve[0][0]
            curves[name] = [point for point in curves.get(name, []) if point[0] < first] + curve
    return curves


def read_last_validation(work_dir: str | Path) -> tuple[int, dict[str, float]]:
    """Read what the last validation below a work directory reported.

    Args:
        work_dir: contains ``<time>/vis_data/scalars.json``.

    Returns:
        The epoch (or iteration, in runs by iteration) after which it was made, and its metrics
        in their order.

    Raises:
        FileNotFoundError: nothing was logged there.
        ValueError: there was no validation.
    """
    for file in reversed(_scalar_files(work_dir)):
        found = last_validation_in(file)
        if found is not None:
            return found
    raise InputError(f'{work_dir}: */vis_data/scalars.json hold no validation')


def last_validation_in(file: Path) -> tuple[int, dict[str, float]] | None:
    """The same from one file ``scalars.json``; None if it holds no validation."""
    for values in reversed(_read_lines(file)):
        # The logger writes a validation's duration, and the iteration only while it trains.
        timed = {'time', 'val/time'} & set(values)
        if timed and 'iter' not in values and 'step' in values:
            return values['step'], dict(metrics_in(values))
    return None


def _scalar_files(work_dir: str | Path) -> list[Path]:
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise MissingFileError(f'{work_dir}: no */vis_data/scalars.json, nothing was logged')
    return files


def _read_lines(file: Path) -> list[dict[str, Any]]:
    lines = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # a killed run leaves half a line
    return lines


def metrics_in(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Names and values of what a line of a log measures."""
    for name, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name.removeprefix('val/') not in NOT_CURVES:
            yield name, float(value)


def _read_file(file: Path) -> dict[str, Curve]:
    curves: dict[str, dict[float, float]] = {}
    for values in _read_lines(file):
        if 'step' in values:
            for name, value in metrics_in(values):
                curves.setdefault(name, {})[values['step']] = value
    return {name: sorted(points.items()) for name, points in curves.items()}


def smooth(curve: Curve, width: int) -> Curve:
    """Mean over a centered window of ``width`` points, narrower at the ends."""
    half = width // 2
    result = []
    for i, (step, _) in enumerate(curve):
        reach = min(half, i, len(curve) - 1 - i)
        window = [value for _, value in curve[i - reach : i + reach + 1]]
        result.append((step, sum(window) / len(window)))
    return result


def draw_losses(curves: Mapping[str, Curve], x_label: str = 'step') -> Image.Image:
    """Draw every loss in a panel of its own, since their sizes differ; two panels per row."""
    names = [name for name in curves if name.split('/')[-1].startswith('loss')]
    if not names:
        raise ValueError(f'no loss among the curves {sorted(curves)}')
    rows = math.ceil(len(names) / 2)
    figure = Figure(figsize=(6.4, 2.1 * rows + 0.3), layout='constrained')
    grid = figure.subplots(rows, 2, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= len(names):
            axes.set_axis_off()
            continue
        curve = [point for point in curves[names[i]] if math.isfinite(point[1])]
        color = COLORS[i % len(COLORS)]
        axes.plot(*_columns(curve), color=color, alpha=0.3, linewidth=0.8)
        axes.plot(
            *_columns(smooth(curve, max(1, len(curve) // 20))), color=color, linewidth=1.6
        )
        axes.set_title(_loss_title(names[i]), loc='left', fontsize=9)
        tidy(axes)
    for axes in grid[-1]:
        axes.set_xlabel(x_label, fontsize=8)
    return to_image(figure)


def draw_curves(
    curves: Mapping[str, Curve],
    y_label: str,
    x_label: str = 'epoch',
    references: Mapping[str, float] | None = None,
    from_zero: bool = True,
) -> Image.Image:
    """Draw several curves over epochs in one panel, with horizontal lines to compare with.

    Args:
        curves: by their name in the legend.
        y_label: what is drawn.
        x_label: what it is drawn over, whole numbers.
        references: heights of the horizontal lines by their name in the legend.
        from_zero: begin the vertical axis at 0.
    """
    figure = Figure(figsize=(6.4, 3.2), layout='constrained')
    axes = figure.subplots()
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(*_columns(curve), color=COLORS[i % len(COLORS)], marker='o', ms=3, label=name)
    for i, (name, value) in enumerate((references or {}).items()):
        axes.axhline(value, color='#777777', linestyle=('--', ':', '-.')[i % 3], label=name)
    if from_zero:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(y_label, fontsize=9)
    axes.set_xlabel(x_label, fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    tidy(axes)
    return to_image(figure)


def to_image(figure: Figure) -> Image.Image:
    """Render a figure, without the global state of pyplot."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    return Image.frombytes(
        'RGBA', canvas.get_width_height(), bytes(canvas.buffer_rgba())
    ).convert('RGB')


def _columns(curve: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [step for step, _ in curve], [value for _, value in curve]


def _loss_title(name: str) -> str:
    short = name.split('/')[-1].removeprefix('loss').strip('_')
    return short.upper() if short in ('csm', 'csr', 'css') else short or 'sum of all losses'


def tidy(axes: Axes) -> None:
    """Take from a panel what says nothing."""
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(axis='y', color='#e3e3e3', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
