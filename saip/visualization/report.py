"""A report of a run: one HTML file that needs nothing else, and its images beside it."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

from saip.datasets.files import write_atomic
from saip.visualization.curves import Curve, draw_curves, draw_losses
from saip.visualization.retrieval import draw_retrieval_bars

MOST_COLORS_OF_A_DRAWING = 1 << 13

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto;
  padding: 1rem; color: #1c2733; background: #fff; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid #dde3e8;
  vertical-align: top; }
th { font-weight: 500; color: #4b5a68; } td { font-variant-numeric: tabular-nums; }
figure { margin: 0; } figcaption { color: #4b5a68; font-size: .94rem; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
@media (prefers-color-scheme: dark) {
  body { color: #dfe6ec; background: #161b20; } th, figcaption { color: #a5b2be; }
  th, td { border-color: #303a43; } }
""".strip()


@dataclass(frozen=True)
class Figure:
    """One figure of the report.

    Attributes:
        title: heading.
        caption: plain words: what is seen, what it means and what it does not.
        image: what is shown.
    """

    title: str
    caption: str
    image: Image.Image


@dataclass(frozen=True)
class ReportData:
    """What a report shows, all plain values.

    Attributes:
        title: of the page.
        summary: rows of the table at the top: what, and its value.
        curves: by name, (step, value) points; losses are recognized by their names
            (``loss``, ``loss_csm``, ...) and the rest is drawn together, in percent.
        retrieval: by way of searching (``before training``, ``after training``,
            ``color histogram``, ...), by metric a percentage.
        figures: shown below, in this order.
        introduction: plain words below the title.
    """

    title: str
    summary: Mapping[str, str | int | float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    retrieval: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    introduction: str = ''


def write_report(out_dir: str | Path, data: ReportData, name: str = 'report') -> Path:
    """Write ``<name>.html`` with its images inside, and each image as PNG beside it.

    Returns:
        The HTML file.
    """
    out_dir = Path(out_dir)
    figures = [*_drawn(data), *data.figures]
    parts = []
    for number, figure in enumerate(figures, 1):
        content = _png(figure.image)
        slug = re.sub('[^a-z0-9]+', '-', figure.title.lower()).strip('-')
        write_atomic(out_dir / f'{name}-{number}-{slug[:40]}.png', content)
        parts.append(_figure(figure, content))
    path = out_dir / f'{name}.html'
    write_atomic(path, _page(data, parts).encode())
    return path


def _drawn(data: ReportData) -> list[Figure]:
    """Images that the report draws itself from the numbers."""
    drawn = []
    if any('recall@1' in scores for scores in data.retrieval.values()):
        drawn.append(
            Figure(
                'Finding the other view',
                'Two random views are made of each image that was held back. How often is the '
                'other view of an image the most similar one among all images? Training has '
                'worked if "after" is above "before". It measures what training taught, not how '
                'good the features are for a task: coarse pixels can score high, too.',
                draw_retrieval_bars(data.retrieval),
            )
        )
    elif data.retrieval:
        drawn.append(
            Figure(
                'Finding the same person',
                'For each query image the network orders all others by similarity; a hit is '
                'the same person seen by another camera. Rank-1: how often the first one is a '
                'hit. mAP: how early all hits come. Training has worked if "after" is clearly '
                'above "before". Being above the color histogram as well is a good sign, but '
                'a short run on synthetic persons says nothing about real surveillance images.',
                draw_retrieval_bars(data.retrieval),
            )
        )
    losses = {k: v for k, v in data.curves.items() if k.split('/')[-1].startswith('loss')}
    others = {k: v for k, v in data.curves.items() if k not in losses}
    if losses:
        drawn.append(
            Figure(
                'Losses',
                'Faint: as logged; strong: smoothed. They should fall and level off. Each '
                'objective has a scale of its own, so compare a curve with itself only. A low '
                'loss alone is no proof of learning: a collapsed network has one too, which is '
                'why the search above matters more.',
                draw_losses(losses),
            )
        )
    if others:
        drawn.append(
            Figure(
                'During training',
                'Measured on images that are not trained on. A rising curve means that the '
                'features get better at telling persons apart.',
                draw_curves(others, '%'),
            )
        )
    return drawn


def _figure(figure: Figure, content: bytes) -> str:
    title, caption = html.escape(figure.title), html.escape(figure.caption)
    encoded = base64.b64encode(content).decode()
    width, height = figure.image.size
    return (
        f'<h2>{title}</h2>\n<figure><img alt="{title}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{encoded}">\n<figcaption>{caption}</figcaption></figure>'
    )


def _page(data: ReportData, parts: Sequence[str]) -> str:
    title = html.escape(data.title)
    rows = '\n'.join(
        f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(_text(value))}</td></tr>'
        for key, value in data.summary.items()
    )
    lines = [
        '<!doctype html>',
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{title}</title>',
        f'<style>{STYLE}</style></head><body>',
        f'<h1>{title}</h1>',
        f'<p>{html.escape(data.introduction)}</p>' if data.introduction else '',
        f'<table>\n{rows}\n</table>' if rows else '',
        *parts,
        '</body></html>\n',
    ]
    return '\n'.join(line for line in lines if line)


def _text(value: str | int | float) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    return f'{value:,}' if isinstance(value, int) else value


def _png(image: Image.Image) -> bytes:
    """Encode; drawings with a palette, which is a third of the size and spoils photos only."""
    drawing = image.convert('RGB')
    if drawing.getcolors(MOST_COLORS_OF_A_DRAWING):
        drawing = drawing.quantize(256)
    buffer = BytesIO()
    drawing.save(buffer, 'PNG', optimize=True)
    return buffer.getvalue()
