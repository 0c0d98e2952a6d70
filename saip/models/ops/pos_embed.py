"""Resampling of learnt position embeddings to other patch grids."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from saip.structures import Grid

PosInterp = Literal['grid2d', 'flat1d']


def resample_grid(rows: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample patch embeddings between grids by 2-D bicubic interpolation.

    Args:
        rows: (L, D) in raster order over ``source``.
        source: (h, w) the embeddings belong to.
        target: (h, w) wanted.

    Returns:
        (L', D) in raster order over ``target``.
    """
    if tuple(source) == tuple(target):
        return rows
    maps = rows.T.reshape(1, -1, *source)
    # Half-precision bicubic interpolation loses the small differences between neighbors.
    wide = maps if maps.dtype.itemsize >= 4 else maps.float()
    out = F.interpolate(wide, size=tuple(target), mode='bicubic', align_corners=False)
    return out.to(rows.dtype).flatten(2)[0].T


def resample_sequence(rows: Tensor, length: int) -> Tensor:
    """Resample patch embeddings as one sequence in raster order, by 1-D bicubic interpolation.

    This is what the method's first release does; it ignores that the rows form a grid.

    Args:
        rows: (L, D).
        length: wanted number of rows.

    Returns:
        (length, D); ``rows`` themselves if the length is already right.
    """
    if len(rows) == length:
        return rows
    column = rows.T.reshape(1, -1, len(rows), 1)
    wide = column if column.dtype.itemsize >= 4 else column.float()
    out = F.interpolate(wide, size=(length, 1), mode='bicubic', align_corners=False)
    return out.to(rows.dtype)[0, :, :, 0].T


def resample(rows: Tensor, source: Grid, target: Grid, how: PosInterp) -> Tensor:
    """Resample (L, D) patch embeddings from one grid to another, ``how`` names the rule."""
    if how == 'grid2d':
        return resample_grid(rows, source, target)
    return resample_sequence(rows, target[0] * target[1])
