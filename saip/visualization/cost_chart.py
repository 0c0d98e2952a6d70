"""Downstream results against the size and cost of encoders, the form of the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from saip.visualization.curves import COLORS, tidy, to_image

LARGEST = 900
"""Area of the largest encoder's disc, in square points; the others are in proportion."""


class CostPoint(Protocol):
    """What is drawn of a result; see ``saip.experiments.encoder_results.EncoderResult``."""

    @property
    def series(self) -> str:
        """Results of one series have one color."""

    @property
    def encoder(self) -> str:
        """Name of the encoder."""

    @property
    def value(self) -> float:
        """Height of the point."""

    @property
    def parameters(self) -> int:
        """Area of the point."""

    @property
    def gflops(self) -> float:
        """Place of the point from left to right."""


def draw_cost_chart(points: Sequence[CostPoint], y_label: str, x_label: str) -> Image.Image:
    """Draw a disc per result: operations to the right, the metric upwards, parameters its area.

    Args:
        points: at least one.
        y_label: name of the metric.
        x_label: name of the operations, with the size of the image.
    """
    figure = Figure(figsize=(6.4, 4.2), layout='constrained')
    axes = figure.subplots()
    most = max(point.parameters for point in points)
    for i, series in enumerate(dict.fromkeys(point.series for point in points)):
        own = [point for point in points if point.series == series]
        axes.scatter(
            [point.gflops for point in own],
            [point.value for point in own],
            s=[LARGEST * point.parameters / most for point in own],
            color=COLORS[i % len(COLORS)],
            alpha=0.55,
            linewidths=0,
        )
        # The disc of the legend says the color alone.
        axes.scatter([], [], s=40, color=COLORS[i % len(COLORS)], alpha=0.55, label=series)
    _name_encoders(axes, points)
    axes.set_ylabel(y_label, fontsize=9)
    axes.set_xlabel(x_label, fontsize=9)
    axes.margins(x=0.16, y=0.2)
    figure.legend(loc='outside upper center', ncols=3, fontsize=8, frameon=False)
    tidy(axes)
    return to_image(figure)


def _name_encoders(axes: Axes, points: Sequence[CostPoint]) -> None:
    """Write each encoder's name and size once, over the best of its results."""
    for encoder in dict.fromkeys(point.encoder for point in points):
        best = max((p for p in points if p.encoder == encoder), key=lambda p: p.value)
        axes.annotate(
            f'{encoder}\n{best.parameters / 1e6:.1f}M',
            (best.gflops, best.value),
            xytext=(0, 17),
            textcoords='offset points',
            ha='center',
            va='bottom',
            fontsize=8,
        )
