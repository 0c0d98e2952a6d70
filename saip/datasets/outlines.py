"""Outlines of objects in COCO's format: polygons and run lengths."""

from __future__ import annotations

import math
from typing import Any

from saip.datasets.crops import DataError

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons x0, y0, x1, y1 ..., or COCO's run lengths with ``size`` and ``counts``."""


def check_outline(
    outline: Any, size: tuple[int, int], place: str, least_points: int = 3
) -> None:
    """Check that an outline is polygons or run lengths of an image.

    Args:
        outline: of an annotation.
        size: (width, height) of the image.
        place: of the annotation, for messages.
        least_points: of every polygon, 3 or 1.

    Raises:
        DataError: it is neither, or run lengths do not fit the image.
    """
    width, height = size
    match outline:
        case [_, *_] if all(_is_polygon(points, least_points) for points in outline):
            return
        case {'size': [h, w], 'counts': list() | str()} if (h, w) == (height, width):
            if _covered(outline) != width * height:
                raise DataError(
                    f'{place} has run lengths {outline["counts"]!r:.60} that are damaged: they do '
                    f'not cover the {width * height} pixels of the image'
                )
            return
        case {'size': [h, w], 'counts': list() | str()}:
            raise DataError(
                f'{place} has run lengths of {w!r:.20} x {h!r:.20} pixels in an image of {width} x '
                f'{height}'
            )
    points = ' of three or more points' if least_points == 3 else ''
    raise DataError(
        f'{place} has segmentation {outline!r:.60}, neither polygons{points} nor run lengths'
    )


def _is_polygon(points: Any, least_points: int) -> bool:
    return (
        isinstance(points, list)
        and len(points) >= 2 * least_points
        and len(points) % 2 == 0
        and all(type(value) in (int, float) and math.isfinite(value) for value in points)
    )


def _covered(outline: dict[str, Any]) -> int:
    """Pixels that run lengths cover; -1 where they cannot be read."""
    counts = outline['counts']
    runs = _unpacked(counts) if isinstance(counts, str) else counts
    if any(type(run) is not int or run < 0 for run in runs):
        return -1
    return sum(runs)


def _unpacked(text: str) -> list[int]:
    """Run lengths of COCO's text: five bits a letter, from the fourth on as differences.

    Text that is none gives a negative run, which no mask has, and so does one whose numbers no
    image has pixels for.
    """
    runs: list[int] = []
    value = bits = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or bits > 60:
            return [-1]
        value |= (code & 31) << bits
        bits += 5
        if code & 32:  # goes on in the next letter
            continue
        if code & 16:  # negative
            value -= 1 << bits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = bits = 0
    return [-1] if bits else runs
