"""A copy of the buffers that a forward pass changes, from before it."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from saip.models.ops import skipping


class KeptBuffers:
    """The persistent buffers of a model's modules in training mode, and a copy of them.

    Above all the statistics of BatchNorm, which a forward pass moves before the gradients are
    known. Modules in eval mode (an expert) move none. A ViT has no such buffers; of its objectives
    the center is copied. The list of buffers is made once, one flat copy per type of numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for module in model.modules():
            if module.training:
                for name, buffer in module.named_buffers(recurse=False):
                    if name not in module._non_persistent_buffers_set:
                        self._groups[buffer.dtype].append(buffer)
        self._copies: dict[torch.dtype, Tensor] = {}
        self.keep()

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the buffers as they are."""
        for dtype, buffers in self._groups.items():
            flat = [buffer.reshape(-1) for buffer in buffers]
            if dtype in self._copies:
                torch.cat(flat, out=self._copies[dtype])
            else:
                self._copies[dtype] = torch.cat(flat)

    @torch.no_grad()
    def restore(self, skipped: Tensor) -> None:
        """Go back to the copy if ``skipped``, a () bool on the device of the buffers."""
        if skipping.readable(skipped) and not skipped:
            return
        for dtype, buffers in self._groups.items():
            now = torch.cat([buffer.reshape(-1) for buffer in buffers])
            chosen = torch.where(skipped, self._copies[dtype], now)
            parts = chosen.split([buffer.numel() for buffer in buffers])
            shaped = [part.view_as(x) for part, x in zip(parts, buffers, strict=True)]
            torch._foreach_copy_(buffers, shaped)
