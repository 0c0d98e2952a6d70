"""Accuracy against latency, as an image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.figure import Figure

from saip.deploy.benchmark import Row

MARKS = {'PyTorch': 'o', 'ONNX Runtime': 's', 'OpenVINO': '^'}


def draw_benchmark(rows: Sequence[Row], metric: str = 'mAP') -> bytes:
    """Draw rows as PNG: latency of one image by one thread, and a metric.

    Files of one checkpoint share a color, int8 is hollow. A file without the metric has no height:
    it is a dashed line at its latency.
    """
    figure = Figure(figsize=(9, 4.5), layout='constrained')
    axes = figure.subplots()
    sources = list(dict.fromkeys(row.source for row in rows))
    for row in rows:
        speed = row.speed(1, 1)
        if speed is None:
            continue
        color = f'C{sources.index(row.source) % 10}'
        label = f'{row.file}, {row.runtime}'
        if metric not in row.accuracy:
            axes.axvline(
                speed.median, color=color, linestyle='--', label=f'{label}, no {metric}'
            )
            continue
        axes.errorbar(
            speed.median,
            row.accuracy[metric],
            xerr=[[0.0], [max(0.0, speed.percentile95 - speed.median)]],
            marker=MARKS[row.runtime],
            color=color,
            markerfacecolor='none' if row.int8 else color,
            linestyle='none',
            label=label,
        )
    axes.set_xscale('log')
    axes.set_xlabel('milliseconds per image, one thread, median to 95th percentile')
    axes.set_ylabel(f'{metric}, %')
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc='outside right upper', fontsize=6)
    content = BytesIO()
    figure.savefig(content, format='png', dpi=120)
    return content.getvalue()
