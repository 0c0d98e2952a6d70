"""Where the pastes of a scene lie (host side)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from saip.datasets.views.random import integers, uniforms
from saip.datasets.views.recipe import Size

CANDIDATES = 64
MIN_VISIBLE = 0.5


@dataclass(frozen=True)
class SceneDraw:
    """Layout of a batch of scenes with n pastes each.

    Attributes:
        other: (B,) position in the batch of the picture that gives the other person.
        top: (B, n) row of each paste's upper edge.
        left: (B, n) column of each paste's left edge.
        order: (B, n) the pastes in the order in which they are pasted.
    """

    other: np.ndarray
    top: np.ndarray
    left: np.ndarray
    order: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """(B, n) when each paste is pasted, 0 first."""
        return np.argsort(self.order, axis=1, kind='stable')

    def boxes(self, sizes: list[Size]) -> np.ndarray:
        """(B, n, 4) top, left, bottom, right of pastes of these sizes."""
        bottom = self.top + np.array([h for h, _ in sizes])
        right = self.left + np.array([w for _, w in sizes])
        return np.stack([self.top, self.left, bottom, right], axis=-1)


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
    sizes: list[Size],
    scene: Size,
    min_visible: float,
    keys: np.ndarray,
    epoch: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random order and places, everything inside the scene and visible enough.

    Several layouts are drawn per scene and the first valid one is taken. If none is, the
    pastes stand side by side in the order of pasting, from left to right or from right to left,
    each covered by later ones over at most half its width; the sizes must allow that.

    Returns:
        top, left, order: (B, n) each, see :class:`SceneDraw`.
    """
    count = len(sizes)
    numbers = uniforms(seed, 'scene', keys, epoch, count * (1 + 2 * CANDIDATES) + 1)
    order = np.argsort(numbers[:, :count], axis=1, kind='stable')
    rank = np.argsort(order, axis=1, kind='stable')
    places = numbers[:, count:-1].reshape(len(keys), CANDIDATES, 2, count)
    top = integers(places[:, :, 0], np.array([scene[0] - h + 1 for h, _ in sizes]))
    left = integers(places[:, :, 1], np.array([scene[1] - w + 1 for _, w in sizes]))
    if min_visible <= 0:
        return top[:, 0], left[:, 0], order
    shares = visible_shares(top, left, sizes, np.broadcast_to(rank[:, None], top.shape))
    valid = shares.min(axis=-1) >= min_visible
    rows, first = np.arange(len(keys)), valid.argmax(axis=1)
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


def draw_official_layout(
    crop: Size, scene: Size, keys: np.ndarray, epoch: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The authors' layout of the pastes (instance, crop).

    The crop is pasted first, the instance to the right of it, and they never overlap.

    Returns:
        top, left, order: (B, 2) each, see :class:`SceneDraw`.
    """
    numbers = uniforms(seed, 'scene', keys, epoch, 4)
    height, width = crop
    rows = scene[0] - height - 1
    roi_top = integers(numbers[:, 0], rows)
    roi_left = integers(numbers[:, 1], scene[1] - 2 * width - 1)
    top = integers(numbers[:, 2], rows)
    start = roi_left + width
    left = start + integers(numbers[:, 3], scene[1] - width - 1 - start)
    order = np.broadcast_to(np.array([1, 0]), (len(keys), 2)).copy()
    return np.stack([top, roi_top], 1), np.stack([left, roi_left], 1), order
