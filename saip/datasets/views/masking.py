"""Which patches of the masked view are hidden (host side)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saip.structures import Grid


@dataclass(frozen=True)
class MaskDraw:
    """Host twin of :class:`saip.structures.PatchMask`, same fields as arrays."""

    keep: np.ndarray
    restore: np.ndarray
    scored: np.ndarray
    scored_weight: np.ndarray | None = None


def kept_patches(patches: int, ratio: float) -> int:
    """How many of ``patches`` stay visible: the visible share, rounded down."""
    # 1 - 0.9 is a little less than 0.1; the guard keeps such products whole.
    return int(patches * (1 - ratio) + 1e-9)


def exact_mask(noise: np.ndarray, ratio: float) -> MaskDraw:
    """Keep the patches with the smallest noise, the same number in every picture.

    Args:
        noise: (B, L) uniform, one number per patch of the view's own grid.
        ratio: share of hidden patches.
    """
    kept = kept_patches(noise.shape[1], ratio)
    ranked = np.argsort(noise, axis=1, kind='stable')
    keep = np.sort(ranked[:, :kept], axis=1)
    hidden = np.sort(ranked[:, kept:], axis=1)
    sequence = np.concatenate([keep, hidden], axis=1)
    return MaskDraw(keep, np.argsort(sequence, axis=1, kind='stable'), hidden)


def official_mask(noise: np.ndarray, source: Grid, target: Grid, ratio: float) -> MaskDraw:
    """The authors' rule: draw on the anchor's grid, enlarge by nearest neighbours.

    Cells are duplicated unevenly, so the number of visible cells differs between pictures
    while the number of encoded ones does not; what is scored follows the visible map.

    Args:
        noise: (B, h * w) uniform over ``source``.
        source: the anchor's grid.
        target: the masked view's grid.
        ratio: share of hidden patches.
    """
    drawn = np.zeros(noise.shape, dtype=bool)
    kept = kept_patches(noise.shape[1], ratio)
    ranked = np.argsort(noise, axis=1, kind='stable')
    np.put_along_axis(drawn, ranked[:, :kept], True, axis=1)
    rows = np.arange(target[0]) * source[0] // target[0]
    cols = np.arange(target[1]) * source[1] // target[1]
    visible = drawn.reshape(-1, *source)[:, rows][:, :, cols].reshape(len(noise), -1)
    sequence = np.argsort(~visible, axis=1, kind='stable')
    restore = np.argsort(sequence, axis=1, kind='stable')
    keep = sequence[:, : kept_patches(visible.shape[1], ratio)]
    # Hidden cells come last in the sequence, so reversing puts them in front of the padding.
    hidden = (~visible).sum(axis=1)
    scored = sequence[:, ::-1][:, : hidden.max()]
    weight = np.arange(hidden.max())[None, :] < hidden[:, None]
    return MaskDraw(keep, restore, scored.copy(), weight.astype(np.float32))
