"""The figure and the table of a comparison of attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from saip.visualization.attention import overlay
from saip.visualization.attention_comparison import Column, Compared, Row

GAP = 10
LINE = 17
TALLEST = 256
"""Height of the tallest drawn image; the others are drawn at the same pixels per input pixel."""

FONT = 13
NOTE = (90, 90, 90)


def draw_comparison(
    rows: Sequence[Row], columns: Sequence[Column], compared: Compared
) -> Image.Image:
    """Draw a line of images and, below, a line of maps for each encoder.

    Below a map stands the share that falls on the people, where that is known: of all images of
    the column, of which one is drawn.
    """
    zoom = TALLEST / max(column.size[0] for column in columns)
    sizes = [(round(c.size[1] * zoom), round(c.size[0] * zoom)) for c in columns]
    images = [
        column.subjects[0].image.convert('RGB').resize(size, Image.Resampling.BICUBIC)
        for column, size in zip(columns, sizes, strict=True)
    ]
    lines = [images]
    for maps in compared.maps:
        lines.append(
            [
                overlay(image, weights, brightest=compared.brightest(i))
                for i, (image, weights) in enumerate(zip(images, maps, strict=True))
            ]
        )
    notes = [_notes(compared.areas, 'mask')]
    notes += [_notes(shares, 'on the mask') for shares in compared.shares]
    labels = [['images']] + [[row.name, *_wrap(row.map_name), *_about(row)] for row in rows]
    titles = [[c.title, f'at {c.size[0]} x {c.size[1]}{_of_many(c)}'] for c in columns]
    bright = ', '.join(f'{compared.brightest(i):.1f}' for i in range(len(columns)))
    caption = [
        'Mean over the heads of the last block, the same images and sizes for all rows. Dark: '
        'below half of',
        f"a map's average; full brightness, by column, for all rows: {bright} times the average.",
    ]
    return _lay_out(lines, notes, labels, titles, caption)


def _notes(values: Sequence[float | None], what: str) -> list[str]:
    return ['' if value is None else f'{what}: {100 * value:.0f} %' for value in values]


def _of_many(column: Column) -> str:
    return f', 1 of {len(column.subjects)}' if len(column.subjects) > 1 else ''


def _about(row: Row) -> list[str]:
    which = row.about.get('which')
    return [] if which is None else [f'({which})']


def _wrap(text: str, width: int = 22) -> list[str]:
    lines = ['']
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append('')
        lines[-1] = f'{lines[-1]} {word}'.strip()
    return lines


def _lay_out(
    lines: list[list[Image.Image]],
    notes: list[list[str]],
    labels: list[list[str]],
    titles: list[list[str]],
    caption: list[str],
) -> Image.Image:
    font = ImageFont.load_default(FONT)

    def width_of(texts: Sequence[str]) -> int:
        return max((int(font.getlength(text)) + 1 for text in texts), default=0)

    left = max(width_of(label) for label in labels) + 2 * GAP
    widths = [
        max(image.width, width_of([*title, *(note[i] for note in notes)]))
        for i, (image, title) in enumerate(zip(lines[0], titles, strict=True))
    ]
    below = LINE if any(text for note in notes for text in note) else 0
    tallest = max(image.height for image in lines[0])
    heights = [max(tallest, LINE * len(label)) + below + GAP for label in labels]
    top = LINE * (len(caption) + 2) + 2 * GAP
    size = (
        max(left + sum(widths) + GAP * len(widths), width_of(caption) + 2 * GAP),
        top + sum(heights),
    )
    sheet = Image.new('RGB', size, 'white')
    pen = ImageDraw.Draw(sheet)
    for number, text in enumerate(caption):
        pen.text((GAP, GAP // 2 + number * LINE), text, fill=NOTE, font=font)
    for line, note, label, height in zip(lines, notes, labels, heights, strict=True):
        for number, text in enumerate(label):
            color = NOTE if number else 'black'
            pen.text((GAP, top + number * LINE), text, fill=color, font=font)
        x = left
        for i, (image, width) in enumerate(zip(line, widths, strict=True)):
            sheet.paste(image, (x, top))
            pen.text((x, top + image.height + 1), note[i], fill=NOTE, font=font)
            x += width + GAP
        top += height
    x, first = left, LINE * len(caption) + GAP
    for title, width in zip(titles, widths, strict=True):
        for number, text in enumerate(title):
            color = NOTE if number else 'black'
            pen.text((x, first + number * LINE), text, fill=color, font=font)
        x += width + GAP
    return sheet


def record(
    rows: Sequence[Row], columns: Sequence[Column], compared: Compared
) -> dict[str, Any]:
    """The numbers behind the figure as plain values."""
    return {
        'columns': [
            {
                'title': column.title,
                'size': list(column.size),
                'images': len(column.subjects),
                'mask_area': area,
            }
            for column, area in zip(columns, compared.areas, strict=True)
        ],
        'rows': [
            {'name': row.name, **row.about, 'map': row.map_name, 'share_inside': shares}
            for row, shares in zip(rows, compared.shares, strict=True)
        ],
    }


def format_record(found: dict[str, Any]) -> str:
    """The record as a Markdown table: a row per encoder, percent inside of the masks."""
    columns = found['columns']
    head = ['encoder', 'network', 'map']
    head += [f'{c["title"]}, {c["size"][0]}x{c["size"][1]} (n={c["images"]})' for c in columns]
    lines = [head, ['---'] * len(head)]
    lines.append(['even map', '', '', *(_percent(c['mask_area']) for c in columns)])
    for row in found['rows']:
        shares = [_percent(share) for share in row['share_inside']]
        lines.append([row['name'], row.get('which', ''), row['map'], *shares])
    title = 'Share of the map inside of the mask of the people, percent:'
    table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return f'{title}\n\n{table}\n'


def _percent(share: float | None) -> str:
    return '' if share is None else f'{100 * share:.1f}'
