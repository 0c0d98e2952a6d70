"""Convolutional networks on masked images: only the cells of visible patches take part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saip.structures import Grid


class VisibleCells:
    """Which cells of a network's maps show visible patches, and how its layers respect that.

    Filling the hidden patches keeps their pixels out, but with every convolution the visible
    content flows into the hidden cells, and the fill into the visible ones: the mask's pattern
    dissolves, and the statistics of BatchNorm move with the masking ratio (Tian et al., SparK,
    2023, who compute sparsely). In a pass under :meth:`applied_to`

    * the input of every spatial convolution is zero in hidden cells;
    * every BatchNorm normalizes over visible cells, gives zero elsewhere, and leaves its running
      statistics alone, because these describe whole images;
    * in maps coarser than the patches a cell is visible if one of its patches is, and BatchNorm
      uses all cells, since their visible number differs from image to image.

    Attention, pooling and squeeze-and-excitation are not changed: they see hidden cells, whose
    values come from the fill and from visible neighbors, never from hidden pixels.

    Args:
        keep: (B, K) raster indices of the visible patches.
        grid: (h, w) of all patches.
    """

    def __init__(self, keep: Tensor, grid: Grid) -> None:
        height, width = grid
        shown = torch.zeros(len(keep), height * width, device=keep.device).scatter_(
            1, keep, 1.0
        )
        self.keep = keep
        self.grid = grid
        self._shown = shown.view(-1, 1, height, width)
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._places: dict[tuple[int, int], Tensor] = {}

    def mask(self, size: Any) -> Tensor:
        """Return (B, 1, H, W), true where a cell of an (H, W) map is visible."""
        size = (int(size[0]), int(size[1]))
        if size not in self._masks:
            # Repeats a patch over its cells on finer maps, joins patches on coarser ones.
            self._masks[size] = F.adaptive_max_pool2d(self._shown, size) > 0
        return self._masks[size]

    def places(self, size: tuple[int, int]) -> Tensor | None:
        """Raster indices (B, 1, P) of the visible cells of an (H, W) map.

        P is K times the cells of a patch for every image, so its shape needs no look at the
        values, which would stall a GPU. None if a patch is no whole number of cells.
        """
        rows, row_rest = divmod(size[0], self.grid[0])
        columns, column_rest = divmod(size[1], self.grid[1])
        if row_rest or column_rest or not rows or not columns:
            return None
        if size not in self._places:
            device = self.keep.device
            down = torch.arange(rows, device=device)[:, None] * size[1]
            inside = down + torch.arange(columns, device=device)
            row = self.keep.div(self.grid[1], rounding_mode='floor')
            corner = row * rows * size[1] + self.keep % self.grid[1] * columns
            self._places[size] = (corner[..., None] + inside.flatten()).flatten(1)[:, None]
        return self._places[size]

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Let the layers of ``network`` respect the visible cells inside the context."""
        handles: list[Any] = []
        momenta: list[tuple[Any, float | None]] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
                handles.append(module.register_forward_pre_hook(self._hide))
            elif isinstance(module, _BatchNorm):
                momenta.append((module, module.momentum))
                module.momentum = 0.0
                norm = _NormOfVisible(self)
                handles.append(module.register_forward_pre_hook(norm.gather))
                handles.append(module.register_forward_hook(norm.scatter))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, momentum in momenta:
                module.momentum = momentum

    def _hide(self, module: nn.Module, args: tuple[Tensor, ...]) -> Tensor:
        (x,) = args
        # Windows and other rearranged batches have no place for the mask.
        return x * self.mask(x.shape[-2:]) if len(x) == len(self.keep) else x


class _NormOfVisible:
    """Feeds a BatchNorm the visible cells as a map (B, C, P, 1) and puts its answer back."""

    def __init__(self, cells: VisibleCells) -> None:
        self.cells = cells
        self.size: tuple[int, int] = (0, 0)
        self.places: Tensor | None = None

    def gather(self, module: nn.Module, args: tuple[Tensor, ...]) -> Tensor | None:
        (x,) = args
        self.places = None
        if x.ndim != 4 or len(x) != len(self.cells.keep):
            return None
        self.size = (x.shape[-2], x.shape[-1])
        self.places = self.cells.places(self.size)
        if self.places is None:
            return None
        return x.flatten(2).gather(2, self.places.expand(-1, x.shape[1], -1))[..., None]

    def scatter(self, module: nn.Module, args: Any, out: Tensor) -> Tensor | None:
        if self.places is None:
            return None
        full = out.new_zeros(len(out), out.shape[1], self.size[0] * self.size[1])
        full = full.scatter(2, self.places.expand(-1, out.shape[1], -1), out[..., 0])
        return full.unflatten(-1, self.size)
