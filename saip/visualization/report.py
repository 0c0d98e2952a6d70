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
.verdict { padding: .6rem .9rem; border-left: 5px solid; border-radius: 4px; font-weight: 500; }
.yes { border-color: #2f8f5b; background: #2f8f5b1f; }
.no { border-color: #b3382c; background: #b3382c1f; }
figure { margin: 0; } figcaption p { margin: .3rem 0; }
figcaption { color: #4b5a68; font-size: .94rem; }
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
        caption: what it shows, in plain words.
        image: what is shown.
        good: how it looks where training has worked.
        bad: how it looks where it has not.
    """

    title: str
    caption: str
    image: Image.Image
    good: str = ''
    bad: str = ''


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
        verdict: one sentence above all else, if there is one.
        success: whether it is a good one; decides its color and sign.
    """

    title: str
    summary: Mapping[str, str | int | float]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    retrieval: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    introduction: str = ''
    verdict: str = ''
    success: bool = True


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
        drawn.append(_two_view(data))
    elif data.retrieval:
        drawn.append(_retrieval(data))
    losses = {k: v for k, v in data.curves.items() if k.split('/')[-1].startswith('loss')}
    others = {k: v for k, v in data.curves.items() if k not in losses}
    if losses:
        drawn.append(
            Figure(
                'Losses',
                'The total loss and its terms at each logged step. Faint: as logged; strong: '
                'smoothed. Each term has its own scale.',
                draw_losses(losses),
                'The curves fall quickly, then level off.',
                'A curve rises for long, or stays where it began. A low loss alone proves nothing: '
                'a collapsed network has one too, which is why retrieval is shown first.',
            )
        )
    if others:
        drawn.append(
            Figure(
                'During training',
                'The retrieval of the student and of its expert, the moving average, after each '
                'validation. The images are not trained on.',
                draw_curves(others, '%'),
                'Both curves rise; the expert is close to the student.',
                'The curves are flat, or fall after a maximum and stay low.',
            )
        )
    return drawn


def _two_view(data: ReportData) -> Figure:
    return Figure(
        'Finding the other view',
        'Two random views are made of each held-out image. The bars show how often the other view '
        'of an image is the most similar one among all. This measures what training taught, not '
        'how good the features are for a task.',
        draw_retrieval_bars(data.retrieval),
        'The bar "after training" is clearly above "before training", and above the color '
        'histogram and the coarse pixels. Pixels can score high, since two views share many.',
        '"After training" is not above "before training".',
    )


def _retrieval(data: ReportData) -> Figure:
    return Figure(
        'Finding the same person',
        'For each query image all others are ordered by similarity; a hit is the same person seen '
        'by another camera. Rank-1: how often the first image is a hit. mAP: how early all hits '
        'come.',
        draw_retrieval_bars(data.retrieval),
        'The bar "after training" is clearly above "before training", and above the color '
        'histogram and the coarse pixels, which need no training.',
        '"After training" is close to "before training", or below the histogram: then the features '
        'hold little more than the colors of an image.',
    )


def _figure(figure: Figure, content: bytes) -> str:
    title = html.escape(figure.title)
    encoded = base64.b64encode(content).decode()
    width, height = figure.image.size
    paragraphs = [html.escape(figure.caption)]
    for name, text in (('Good', figure.good), ('Bad', figure.bad)):
        if text:
            paragraphs.append(f'<strong>{name}:</strong> {html.escape(text)}')
    caption = '\n'.join(f'<p>{paragraph}</p>' for paragraph in paragraphs)
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
        _verdict(data),
        f'<p>{html.escape(data.introduction)}</p>' if data.introduction else '',
        f'<table>\n{rows}\n</table>' if rows else '',
        *parts,
        '</body></html>\n',
    ]
    return '\n'.join(line for line in lines if line)


def _verdict(data: ReportData) -> str:
    if not data.verdict:
        return ''
    kind, sign = ('yes', '\N{CHECK MARK}') if data.success else ('no', '\N{BALLOT X}')
    return f'<p class="verdict {kind}">{sign} {html.escape(data.verdict)}</p>'


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
