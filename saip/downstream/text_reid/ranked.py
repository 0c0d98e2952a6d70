"""What was found for captions, as images."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from saip.visualization.retrieval import RankedList

CELL = (208, 128)
"""Width and height of a caption on the sheet."""
FONT_SIZE, LINE, COLUMNS = 11, 14, 33
"""Pixels of a letter and of a line, letters in a line."""


def rank_captions(
    captions: Sequence[str],
    texts: Tensor,
    text_pids: np.ndarray,
    images: Tensor,
    image_pids: np.ndarray,
    paths: Sequence[str],
    number: int = 10,
    found: int = 10,
) -> list[RankedList]:
    """Return the nearest images of some captions, evenly spread over all of them.

    Args:
        captions: T texts.
        texts: (T, E) their features, of length one.
        text_pids: (T,) who is described.
        images: (G, E) features, of length one.
        image_pids: (G,) who is shown.
        paths: G files.
        number: how many captions.
        found: how many images of each.
    """
    places = np.linspace(0, len(captions) - 1, min(number, len(captions))).round().astype(int)
    lists = []
    for place in places:
        near = (images @ texts[place]).cpu().numpy()
        best = np.argsort(-near, kind='stable')[:found]
        shown = [Image.open(paths[i]).convert('RGB') for i in best]
        hits = (image_pids[best] == text_pids[place]).tolist()
        lists.append(RankedList(draw_caption(captions[place]), shown, hits))
    return lists


def draw_caption(caption: str) -> Image.Image:
    """Write a caption into a cell; what does not fit ends with an ellipsis."""
    sheet = Image.new('RGB', CELL, 'white')
    lines = textwrap.wrap(
        caption, COLUMNS, max_lines=CELL[1] // LINE - 1, placeholder=' …', break_long_words=True
    )
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        pen.text((4, 4 + number * LINE), line, fill='black', font_size=FONT_SIZE)
    return sheet
