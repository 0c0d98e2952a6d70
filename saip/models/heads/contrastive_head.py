"""Loss of two views that show the same images."""

from __future__ import annotations

import torch
from mmengine import dist
from mmengine.model import BaseModule
from torch import Tensor

from saip.errors import InputError
from saip.models.losses.info_nce import info_nce
from saip.registry import MODELS


@MODELS.register_module()
class SymmetricContrastiveHead(BaseModule):
    """Each view finds the other among the views of all images, of all processes.

    Both directions are summed and multiplied by twice the temperature, which keeps the size of
    the gradient (MoCo v3, arXiv:2104.02057; HAP). The keys carry no gradient: every
    image's gradient is that of its own queries, so it does not depend on how many processes
    share a batch.

    Args:
        temperature: of the cosines.

    Raises:
        InputError: the temperature is not above 0.
    """

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f'temperature={temperature!r} of a contrast: a number above 0')
        self.temperature = temperature

    def loss(self, one: Tensor, other: Tensor) -> Tensor:
        """Loss of (B, D) features of two views of the same images; B is equal in all processes."""
        first = dist.get_rank() * len(one)
        forth = info_nce(one, _gather(other), first, self.temperature)
        back = info_nce(other, _gather(one), first, self.temperature)
        return 2 * self.temperature * (forth + back)


def _gather(rows: Tensor) -> Tensor:
    """(B, D) of this process -> those of all processes in their order, without gradient."""
    return torch.cat(dist.all_gather(rows.detach().contiguous()))
