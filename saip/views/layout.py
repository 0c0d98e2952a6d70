"""Where the pastes of a scene lie (host side)."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from saip.views.random import integers
from saip.views.sizes import Size

PLACES = 64
MIN_VISIBLE = 0.5


def visible_shares(
    top: np.ndarray, left: np.ndarray, sizes: list[Size], rank: np.ndarray
) -> np.ndarray:
    """Share of every paste that later pastes leave uncovered, by inclusion and exclusion.

    Args:
        top: (..., n) rows of the upper edges.
        left: (..., n) columns of the left edges.
        sizes: of the n pastes.
        rank: (..., n) order of pasting, broadcast against ``top``.

    Returns:
        (..., n) float64.
    """
    bottom = top + np.array([h for h, _ in sizes])
    right = left + np.array([w for _, w in sizes])
    shares = []
    for i, (height, width) in enumerate(sizes):
        covered = np.zeros(top.shape[:-1])
        rest = [j for j in range(len(sizes)) if j != i]
        for count in range(1, len(sizes)):
            for group in combinations(rest, count):
                members = [i, *group]
                rows = bottom[..., members].min(-1) - top[..., members].max(-1)
                cols = right[..., members].min(-1) - left[..., members].max(-1)
                later = (rank[..., list(group)] > rank[..., i : i + 1]).all(-1)
                area = np.maximum(rows, 0) * np.maximum(cols, 0) * later
                covered = covered + area * (1 if count % 2 else -1)
        shares.append(1 - covered / (height * width))
    return np.stack(shares, axis=-1)


def draw_random_layout(
    numbers: np.ndarray, sizes: list[Size], scene: Size, min_visible: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random order and places, everything inside the scene and visible enough.

    Several layouts are drawn per scene and the first valid one is taken. If none is, the
    pastes stand side by side in the order of pasting, from left to right or from right to left,
    each covered by later ones over at most half its width; the sizes must allow that.

    Args:
        numbers: (B, :func:`random_layout_numbers`) uniform.
        sizes: of the n pastes.
        scene: size of the scene.
        min_visible: smallest share of a paste that later ones leave uncovered.

    Returns:
        top, left, order: (B, n) each: rows of the pastes' upper edges, columns of their left
        edges, and the pastes in the order in which they are pasted.
    """
    count = len(sizes)
    order = np.argsort(numbers[:, :count], axis=1, kind='stable')
    rank = np.argsort(order, axis=1, kind='stable')
    places = numbers[:, count:-1].reshape(len(numbers), PLACES, 2, count)
    top = integers(places[:, :, 0], np.array([scene[0] - h + 1 for h, _ in sizes]))
    left = integers(places[:, :, 1], np.array([scene[1] - w + 1 for _, w in sizes]))
    if min_visible <= 0:
        return top[:, 0], left[:, 0], order
    shares = visible_shares(top, left, sizes, np.broadcast_to(rank[:, None], top.shape))
    valid = shares.min(axis=-1) >= min_visible
    rows, first = np.arange(len(numbers)), valid.argmax(axis=1)
    aside = _side_by_side(sizes, scene[1], order)
    mirrored = scene[1] - np.array([w for _, w in sizes]) - aside
    aside = np.where(numbers[:, -1:] < 0.5, aside, mirrored)
    left = np.where(valid.any(axis=1)[:, None], left[rows, first], aside)
    return top[rows, first], left, order


def _side_by_side(sizes: list[Size], width: int, order: np.ndarray) -> np.ndarray:
    widths = np.array([w for _, w in sizes])[order]
    steps = (widths + 1) // 2
    spare = width - (steps[:, :-1].sum(1) + widths[:, -1])
    before = np.cumsum(steps, axis=1) - steps
    shares = np.arange(len(sizes)) / max(1, len(sizes) - 1)
    in_order = before + np.floor(spare[:, None] * shares).astype(np.int64)
    left = np.empty_like(in_order)
    np.put_along_axis(left, order, in_order, axis=1)
    return left


def random_layout_numbers(count: int) -> int:
    """Uniform numbers that a layout of ``count`` pastes takes."""
    return count * (1 + 2 * PLACES) + 1
