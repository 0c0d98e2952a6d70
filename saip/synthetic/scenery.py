"""What stands around people: wide panoramas of a few places, and things in front of people."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from .rng import SCENERY, between, chance, generator

FAMILIES = ('street', 'park', 'plaza', 'hall')
PLACES = 8
PANORAMA = (256, 1024)
# Places are paler than people: a share of their contrast to a common gray is kept. At full
# contrast a network finds the place of an image before it finds the person.
CONTRAST = 0.5
_GRAY = np.array((146.0, 144.0, 140.0), np.float32)

# Share of the height above which a place has walls and below which it has a floor.
_HORIZON = (0.42, 0.6)
_WALLS = {
    'street': ((150, 138, 126), (120, 112, 108), (166, 152, 132), (134, 92, 78)),
    'park': ((96, 126, 84), (112, 138, 96), (84, 112, 88)),
    'plaza': ((176, 176, 172), (150, 156, 162), (186, 180, 166)),
    'hall': ((190, 186, 174), (166, 172, 176), (152, 148, 140)),
}
_FLOORS = {
    'street': ((112, 112, 114), (128, 126, 124)),
    'park': ((124, 140, 92), (158, 146, 118)),
    'plaza': ((162, 158, 150), (140, 140, 142)),
    'hall': ((150, 146, 138), (128, 124, 122)),
}


@lru_cache(maxsize=16)
def panorama(seed: int, place: int) -> np.ndarray:
    """Draw a place, (256, 1024, 3) uint8; images show windows of it.

    The result is shared between calls: do not write to it.
    """
    rng = generator(seed, SCENERY, place)
    family = FAMILIES[place % len(FAMILIES)]
    height, width = PANORAMA
    horizon = int(height * between(rng, *_HORIZON))
    walls, floors = _WALLS[family], _FLOORS[family]
    view = np.empty((height, width, 3), np.uint8)
    view[:horizon] = walls[int(rng.integers(len(walls)))]
    view[horizon:] = floors[int(rng.integers(len(floors)))]
    _facades(view, rng, walls, horizon)
    _floor_lines(view, rng, family, horizon)
    for _ in range(26):
        _thing(view, rng, family, horizon)
    view = _mottled(view, rng)
    view.setflags(write=False)
    return view


def backdrop(
    seed: int, place: int, window: tuple[float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Cut a window of a panorama and scale it to ``size`` (h, w), (h, w, 3) uint8.

    Args:
        seed: seed of the set.
        place: number of the place, below ``PLACES``.
        window: left edge in [0, 1), zoom in (0, 1] (share of the height), top in [0, 1].
        size: (h, w) of the result, at most four times as wide as high.
    """
    view = panorama(seed, place)
    left = window[0]
    y, height = _rows(window)
    width = height * size[1] // size[0]
    x = int(left * (PANORAMA[1] - width))
    cut = view[y : y + height, x : x + width]
    return cv2.resize(cut, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def horizon_in(seed: int, place: int, window: tuple[float, float, float]) -> float:
    """Return where walls end and the floor begins in a window, in image heights."""
    rng = generator(seed, SCENERY, place)
    horizon = int(PANORAMA[0] * between(rng, *_HORIZON))
    y, height = _rows(window)
    return (horizon - y) / height


def _rows(window: tuple[float, float, float]) -> tuple[int, int]:
    """First row and height of a window in the panorama."""
    _, zoom, top = window
    height = int(PANORAMA[0] * zoom)
    return int(top * (PANORAMA[0] - height)), height


def draw_pole(canvas: np.ndarray, x: float, width: float, gray: float) -> None:
    """Draw a lamp post over the whole height, at ``x`` and ``width`` in image widths."""
    size = canvas.shape[1]
    left, right = int((x - width / 2) * size), int((x + width / 2) * size) + 1
    canvas[:, max(left, 0) : max(right, 0)] = (gray, gray, gray * 1.04)
    edge = left + max((right - left) // 4, 1)
    canvas[:, max(left, 0) : max(edge, 0)] = (gray * 0.7, gray * 0.7, gray * 0.72)


def draw_box(
    canvas: np.ndarray, x: float, top: float, width: float, color: tuple[float, float, float]
) -> None:
    """Draw a bench, bin or car bonnet from ``top`` to the lower edge, in image sizes."""
    height, size = canvas.shape[:2]
    left, right = int((x - width / 2) * size), int((x + width / 2) * size)
    upper = int(top * height)
    cv2.rectangle(canvas, (left, upper), (right, height), color, -1)
    lid = tuple(min(255.0, value * 1.35 + 10) for value in color)
    cv2.rectangle(canvas, (left, upper), (right, upper + height // 40), lid, -1)


def _facades(view: np.ndarray, rng: np.random.Generator, walls: tuple, horizon: int) -> None:
    x = 0
    while x < view.shape[1]:
        width = int(rng.integers(60, 200))
        color = np.array(walls[int(rng.integers(len(walls)))]) * between(rng, 0.72, 1.15)
        view[:horizon, x : x + width] = np.clip(color, 0, 255)
        pane = np.clip(color * between(rng, 0.4, 0.75), 0, 255)
        step_x, step_y = int(rng.integers(22, 48)), int(rng.integers(30, 64))
        if chance(rng, 0.7):
            for left in range(x + 8, x + width - step_x // 2, step_x):
                for top in range(8, horizon - step_y // 2, step_y):
                    view[top : top + step_y // 2, left : left + step_x // 2] = pane
        view[:horizon, x : x + 3] = np.clip(color * 0.6, 0, 255)
        x += width


def _floor_lines(view: np.ndarray, rng: np.random.Generator, family: str, horizon: int) -> None:
    height, width = PANORAMA
    shade = tuple(int(v) for v in view[height - 1, 0] * between(rng, 0.75, 0.92))
    view[horizon : horizon + 5] = np.clip(view[horizon] * 0.7, 0, 255)
    if family in ('plaza', 'hall'):
        gap = 10.0
        y = float(horizon)
        while y < height:
            cv2.line(view, (0, int(y)), (width, int(y)), shade, 1, cv2.LINE_AA)
            y, gap = y + gap, gap * 1.35
        for x in range(0, width, int(rng.integers(40, 80))):
            end = x + int((x - width / 2) * 0.4)
            cv2.line(view, (x, horizon), (end, height), shade, 1, cv2.LINE_AA)
    if family == 'street':
        y = int(horizon + (height - horizon) * between(rng, 0.2, 0.8))
        for x in range(0, width, 110):
            cv2.rectangle(view, (x, y), (x + 56, y + 6), (206, 204, 196), -1)


def _thing(view: np.ndarray, rng: np.random.Generator, family: str, horizon: int) -> None:
    """Add one tree, pole, car-like block or sign."""
    height, width = PANORAMA
    x = int(rng.integers(width))
    base = int(horizon + (height - horizon) * between(rng, 0.0, 0.3))
    kind = int(rng.integers(4))
    tone = (between(rng, 50, 190) + rng.integers(-28, 28, 3)).tolist()
    if kind == 0:
        cv2.line(view, (x, int(rng.integers(horizon))), (x, base), (70, 70, 74), 4, cv2.LINE_AA)
    elif kind == 1 and family in ('park', 'street'):
        cv2.line(view, (x, horizon - 60), (x, base), (82, 64, 50), 9, cv2.LINE_AA)
        for _ in range(9):
            center = (x + int(rng.integers(-34, 34)), horizon - 70 + int(rng.integers(-40, 30)))
            green = tuple(int(v * between(rng, 0.75, 1.2)) for v in (66, 104, 58))
            cv2.circle(view, center, int(rng.integers(12, 26)), green, -1, cv2.LINE_AA)
    elif kind == 2:
        size = (int(rng.integers(24, 90)), int(rng.integers(24, 60)))
        cv2.rectangle(view, (x, base - size[1]), (x + size[0], base), tone, -1)
        dark = tuple(int(v * 0.55) for v in tone)
        cv2.rectangle(view, (x + 5, base - size[1] + 5), (x + size[0] - 5, base - 20), dark, -1)
    else:
        top = int(rng.integers(max(horizon - 60, 1)))
        cv2.rectangle(view, (x, top), (x + 30, top + int(rng.integers(16, 44))), tone, -1)


def _mottled(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur and pale what is far away, add stains and grain so that surfaces are not flat."""
    height, width = PANORAMA
    stains = cv2.resize(
        rng.standard_normal((14, 90)).astype(np.float32),
        (width, height),
        None,
        0,
        0,
        cv2.INTER_CUBIC,
    )
    grain = rng.standard_normal((height, width)).astype(np.float32)
    lit = cv2.GaussianBlur(view, (0, 0), 1.3).astype(np.float32)
    lit = _GRAY + CONTRAST * (lit - _GRAY)
    lit *= 1.0 + 0.045 * stains[..., None] + 0.035 * grain[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)
