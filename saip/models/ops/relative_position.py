"""Bias of attention scores by relative position (BEiT, arXiv:2106.08254; CAE fine-tunes with it).

A table holds a number per head for every distance of two patches, in raster order over the
distances, and three more: from the image token to patches, from patches to the image token, and
from the image token to itself. Distances are those of the query's patch minus the key's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from saip.models.ops.pos_embed import resample_grid
from saip.structures import Grid

EXTRA = 3
"""Entries of the image token, the last ones of a table."""


def table_size(grid: Grid) -> int:
    """Entries of a table for a grid."""
    height, width = _distances(grid)
    return height * width + EXTRA


def _distances(grid: Grid) -> Grid:
    return 2 * grid[0] - 1, 2 * grid[1] - 1


def resample_table(table: Tensor, source: Grid, target: Grid) -> Tensor:
    """Move a table (R, H) between grids: distances by 2-D bicubic interpolation."""
    if tuple(source) == tuple(target):
        return table
    rows = resample_grid(table[:-EXTRA], _distances(source), _distances(target))
    return torch.cat([rows, table[-EXTRA:]])


def table_rows(grid: Grid, keep: Tensor | None, device: torch.device) -> Tensor:
    """Row of the table for every pair of tokens, the image token first.

    Args:
        grid: (h, w) that the table belongs to.
        keep: (b, K) raster indices of the tokens' patches; None for all of them.
        device: of the result.

    Returns:
        (1, T, T), or (b, T, T) if some patches were left out; queries before keys.
    """
    height, width = grid
    place = torch.arange(height * width, device=device)[None] if keep is None else keep
    down = (place // width)[:, :, None] - (place // width)[:, None]
    right = (place % width)[:, :, None] - (place % width)[:, None]
    pairs = (down + height - 1) * (2 * width - 1) + right + width - 1
    size = table_size(grid)
    rows = pairs.new_full((len(pairs), pairs.shape[1] + 1, pairs.shape[1] + 1), size - 1)
    rows[:, 1:, 1:] = pairs
    rows[:, 0, 1:] = size - 3
    rows[:, 1:, 0] = size - 2
    return rows


def read_table(table: Tensor, rows: Tensor) -> Tensor:
    """Look up biases: (R, H) and (b, T, T) -> (b, H, T, T)."""
    return table[rows].permute(0, 3, 1, 2)
