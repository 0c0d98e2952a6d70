"""Weights of a step in half precision, all cast at once.

Under autocast every use of a weight begins with a cast, and so does every gradient on its way
back: two kernels for each of some hundred weights, most of which are small. Here one operator casts
those of a part of the model, and one their gradients; values are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from saip.compiling import Compilable
from saip.models.ops.layer_norm import widens
from saip.models.ops.precision import FullPrecision

LAYERS = (nn.Linear, nn.Conv2d, nn.MultiheadAttention, nn.LayerNorm)
"""Layers that compute in half precision under autocast."""


Place = tuple[dict[str, Any], str, nn.Parameter]
"""Parameters of a module, and name and value of one of them."""


class _Cast(torch.autograd.Function):
    """Tensors in another type."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        """Cast all."""
        ctx.set_materialize_grads(False)
        ctx.dtype = weights[0].dtype
        return tuple(_cast(list(weights), dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cast the gradients back; a weight that nothing read has none."""
        wide = iter(_cast([grad for grad in grads if grad is not None], ctx.dtype))
        return None, *(None if grad is None else next(wide) for grad in grads)


def _cast(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    made = [torch.empty_like(x, dtype=dtype) for x in tensors]
    torch._foreach_copy_(made, tensors)
    return made


@contextmanager
def lowered_weights(model: nn.Module) -> Iterator[None]:
    """Give the layers of a model their weights in autocast's type; nothing without autocast.

    Only what stands inside of a ``Compilable`` module and in no ``FullPrecision`` one: of others it
    is not known whether they are always under autocast. The children are cast one by one, so that
    distributed training can begin with the gradients of those that are through first.
    """
    parts = [_places(child) for child in model.children()]
    try:
        for places in parts:
            _lower(places)
        yield
    finally:
        for parameters, name, weight in chain(*parts):
            parameters[name] = weight


def _places(part: nn.Module) -> list[Place]:
    """What is cast of a part of a model; nothing without autocast."""
    places = [
        (module._parameters, name, weight)
        for module in _layers(part, inside=False)
        for name, weight in module._parameters.items()
        if weight is not None and weight.dtype == torch.float32 and _lowers(module, weight)
    ]
    return places if places and lowers_at(places[0][2]) else []


def lowers_at(weight: Tensor) -> bool:
    """Whether autocast is on where a weight is."""
    device = weight.device.type
    return device != 'meta' and torch.is_autocast_enabled(device)


def _lowers(module: nn.Module, weight: Tensor) -> bool:
    return not (isinstance(module, nn.LayerNorm) and widens(weight))


def _lower(places: list[Place]) -> None:
    for learns in (True, False):
        group = [place for place in places if place[2].requires_grad is learns]
        if group:
            lowered = cast_weights([weight for _, _, weight in group])
            for (parameters, name, _), weight in zip(group, lowered, strict=True):
                parameters[name] = weight


def cast_weights(weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Weights in autocast's type; gradients are cast back."""
    return _Cast.apply(torch.get_autocast_dtype(weights[0].device.type), *weights)


def _layers(module: nn.Module, inside: bool) -> Iterator[nn.Module]:
    if isinstance(module, FullPrecision):
        return
    inside = inside or isinstance(module, Compilable)
    if inside and isinstance(module, LAYERS):
        yield module
    for child in module.children():
        yield from _layers(child, inside)
