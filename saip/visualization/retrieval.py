"""Images of a person search: how well, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps

from saip.visualization.curves import COLORS, to_image

HIT, MISS, PLAIN = '#2f8f5b', '#b3382c', '#5d6b7a'


@dataclass(frozen=True)
class RankedList:
    """One query and what was found for it, best first.

    Attributes:
        query: image of the person searched for.
        found: images found.
        hits: for each of them, whether it shows the same person.
    """

    query: Image.Image
    found: Sequence[Image.Image]
    hits: Sequence[bool]


def draw_retrieval_bars(scores: Mapping[str, Mapping[str, float]]) -> Image.Image:
    """Draw scores of several ways to search as bars, one panel per metric.

    Args:
        scores: by way (``before training``, ``after training``, ``color histogram``, ...), by
            metric (``mAP``, ``Rank-1``) a percentage. The way whose name begins with ``after``
            is drawn in color.
    """
    ways = list(scores)
    metrics = list(dict.fromkeys(metric for values in scores.values() for metric in values))
    figure = Figure(figsize=(6.4, 0.9 + 0.34 * len(ways)), layout='constrained')
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        values = [scores[way].get(metric, 0.0) for way in ways]
        colors = [COLORS[0] if way.startswith('after') else '#b8c0c8' for way in ways]
        bars = axes.barh(ways, values, color=colors, height=0.68)
        axes.bar_label(bars, fmt='%.1f', padding=3, fontsize=8)
        axes.set_title(f'{metric} (%)', loc='left', fontsize=9)
        axes.set_xlim(0, max([*values, 1.0]) * 1.2)
        axes.spines[['top', 'right', 'bottom']].set_visible(False)
        axes.tick_params(labelsize=8, bottom=False, labelbottom=False)
    panels[0].invert_yaxis()
    return to_image(figure)


def draw_ranked_lists(
    lists: Sequence[RankedList],
    cell: tuple[int, int] = (64, 128),
    border: int = 4,
    query_width: int | None = None,
) -> Image.Image:
    """Draw queries at the left and what was found beside them; green is the same person.

    Args:
        lists: rows of the image.
        cell: (width, height) of an image.
        border: width of the colored frame.
        query_width: of a query, such as a text, where it is not that of an image.
    """
    if not lists:
        raise ValueError('no ranked list to draw')
    width, height = cell[0] + 2 * border, cell[1] + 2 * border
    gap, space, header = 6, 18, 20
    query_cell = (query_width or cell[0], cell[1])
    begin = query_cell[0] + 2 * border + space
    columns = max(len(row.found) for row in lists)
    sheet = Image.new(
        'RGB',
        (
            begin + columns * (width + gap) - gap,
            header + len(lists) * (height + gap) - gap,
        ),
        'white',
    )
    pen = ImageDraw.Draw(sheet)
    pen.text((border, 4), 'query', fill='black', font_size=12)
    for column in range(columns):
        left = begin + column * (width + gap)
        pen.text((left + border, 4), str(column + 1), fill='black', font_size=12)
    for number, row in enumerate(lists):
        top = header + number * (height + gap)
        sheet.paste(_framed(row.query, query_cell, border, PLAIN), (0, top))
        for column, (image, hit) in enumerate(zip(row.found, row.hits, strict=True)):
            left = begin + column * (width + gap)
            sheet.paste(_framed(image, cell, border, HIT if hit else MISS), (left, top))
    return sheet


def _framed(image: Image.Image, cell: tuple[int, int], border: int, color: str) -> Image.Image:
    fitted = ImageOps.pad(image.convert('RGB'), cell, Image.Resampling.BICUBIC, '#eeeeee')
    return ImageOps.expand(fitted, border, color)
