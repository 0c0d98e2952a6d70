"""Position embeddings: a fixed table, and resampling to other patch grids."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from saip.errors import InputError
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


def sincos_positions(grid: Grid, dims: int) -> Tensor:
    """Fixed 2-D sin-cos position embeddings (MAE).

    The first half of the channels is a function of the column, the second of the row: sines, then
    cosines of the index times 10000^(-i / n), i = 0 .. n - 1, with n a quarter of the width.

    Args:
        grid: (h, w).
        dims: width of an embedding, a multiple of 4.

    Returns:
        (h * w, dims) in raster order.

    Raises:
        InputError: the width is no multiple of 4.
    """
    if dims % 4:
        raise InputError(f'sin-cos positions need a width that is a multiple of 4, not {dims}')
    height, width = grid
    quarter = dims // 4
    wide = torch.float64
    frequencies = 10000 ** (-torch.arange(quarter, dtype=wide) / quarter)

    def waves(length: int) -> Tensor:
        angles = torch.arange(length, dtype=wide)[:, None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    columns = waves(width)[None].expand(height, -1, -1)
    rows = waves(height)[:, None].expand(-1, width, -1)
    table = torch.cat([columns, rows], dim=-1).flatten(0, 1)
    return table.to(torch.get_default_dtype())
