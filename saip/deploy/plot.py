"""Accuracy against latency, as an image."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.figure import Figure

from saip.deploy.benchmark import Row

MARKS = {'PyTorch': 'o', 'ONNX Runtime': 's', 'OpenVINO': '^'}


def draw_benchmark(rows: Sequence[Row], metric: str = 'mAP') -> bytes:
    """Draw rows: latency of one image by one thread, and a metric (0 where there is none); PNG."""
    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.subplots()
    for number, row in enumerate(rows):
        speed = row.speed(1, 1)
        if speed is None:
            continue
        axes.errorbar(
            speed.median,
            row.accuracy.get(metric, 0.0),
            xerr=[[0.0], [max(0.0, speed.percentile95 - speed.median)]],
            marker=MARKS[row.runtime],
            color=f'C{number % 10}',
            markerfacecolor='none' if row.int8 else f'C{number % 10}',
            linestyle='none',
            label=f'{row.file}, {row.runtime}',
        )
    axes.set_xscale('log')
    axes.set_xlabel('milliseconds per image, one thread, median to 95th percentile')
    axes.set_ylabel(f'{metric}, %')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    content = BytesIO()
    figure.savefig(content, format='png', dpi=120)
    return content.getvalue()
