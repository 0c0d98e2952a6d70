"""Weights of a step in half precision, all cast at once.

Under autocast every use of a weight begins with a cast, and so does every gradient on its way
back: two kernels for each of some hundred weights, most of which are small. Here one operator casts
those of a part of the model, and one their gradients; values are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from saip.compiling import Compilable
from saip.models.ops.layer_norm import widens
from saip.models.ops.precision import FullPrecision

LAYERS = (nn.Linear, nn.Conv2d, nn.MultiheadAttention, nn.LayerNorm)
"""Layers that compute in half precision under autocast; norms by ``norm_tokens``."""


Place = tuple[dict[str, Any], str, Tensor]
"""Parameters of a module, and name and value of one of them."""


class _Cast(torch.autograd.Function):
    """Tensors in another type."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        """Cast all."""
        ctx.set_materialize_grads(False)
        ctx.dtype = weights[0].dtype
        ctx.strides = [x.stride() for x in weights]
        return tuple(_cast(list(weights), dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Cast the gradients back; a weight that nothing read has none."""
        wide = iter(_cast([grad for grad in grads if grad is not None], ctx.dtype))
        return None, *(
            None if grad is None else laid_as(next(wide), stride)
            for grad, stride in zip(grads, ctx.strides, strict=True)
        )


def _cast(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    made = [torch.empty_like(x, dtype=dtype) for x in tensors]
    torch._foreach_copy_(made, tensors)
    return made


def laid_as(grad: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A gradient with the strides of its weight, if it lies in memory alike.

    Of a 1x1 convolution the strides of the sides of length 1 often differ, at which distributed
    training copies the gradient, with a warning.
    """
    pairs = zip(grad.shape, grad.stride(), stride, strict=True)
    alike = all(own == wanted for side, own, wanted in pairs if side > 1)
    return grad.as_strided(grad.shape, stride) if alike else grad


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
        for places in parts:
            put_back(places)


def _places(part: nn.Module) -> list[Place]:
    """What is cast of a part of a model; nothing without autocast."""
    places: list[Place] = [
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
    """Whether a layer computes in half precision where it is."""
    return not (isinstance(module, nn.LayerNorm) and widens(weight))


def _lower(places: list[Place]) -> None:
    for learns in (True, False):
        group = [place for place in places if place[2].requires_grad is learns]
        if group:
            put(group, cast_weights([weight for _, _, weight in group]))


def put(places: list[Place], weights: Sequence[Tensor]) -> None:
    """Let modules compute with other weights."""
    for (parameters, name, _), weight in zip(places, weights, strict=True):
        parameters[name] = weight


def put_back(places: list[Place]) -> None:
    """Let modules have their own weights again."""
    put(places, [weight for _, _, weight in places])


def cast_weights(weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Weights in autocast's type; gradients are cast back."""
    return _Cast.apply(torch.get_autocast_dtype(weights[0].device.type), *weights)


def _layers(module: nn.Module, inside: bool) -> Iterator[nn.Module]:
    if isinstance(module, FullPrecision):
        return
    inside = inside or isinstance(module, Compilable)
    if inside and isinstance(module, LAYERS):
        yield module
    wide = module.in_float32 if isinstance(module, Compilable) else ()
    for name, child in module.named_children():
        if name not in wide:
            yield from _layers(child, inside)
