"""Freezing parameters that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def freeze_unread(module: nn.Module, read: Callable[[Tensor], Iterable[Tensor]]) -> None:
    """Freeze the parameters of a module on which nothing that ``read`` returns depends.

    Weight decay would move them, and distributed training refuses trainable parameters that get no
    gradient where it sees them.

    Args:
        module: its mode and its buffers are left as they are.
        read: from images (B, 3, h, w) to the tensors that training will use.
    """
    training = module.training
    module.eval()
    parameters = [p for p in module.parameters() if p.requires_grad]
    with torch.enable_grad():
        found = read(parameters[0].new_zeros(1, 3, 64, 64))
        grads = torch.autograd.grad([x.sum() for x in found], parameters, allow_unused=True)
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.requires_grad_(grad is not None)
    module.train(training)
