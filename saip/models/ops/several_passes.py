"""Weights and counters of a network that several batches of a step pass one after the other.

A convolutional network cannot take views of several sizes at once. Every pass gives each weight a
gradient, and autograd adds them up tensor by tensor; autocast casts the weights of an expert in
every pass, since it keeps only casts of weights that learn; BatchNorm counts its batches in a
tensor per layer. That is a thousand kernels of a few microseconds in a step. Here each of these is
one call for all tensors, with the same values.

All gradients of the network are ready together, at the end of the backward pass: distributed
training cannot reduce the first while the others are computed, which is little for encoders of
some million weights, and does not notice a weight that no pass reads, but gives it zeros.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from saip.models.ops.lowered_weights import (
    Place,
    cast_weights,
    laid_as,
    lowers_at,
    put,
    put_back,
)
from saip.models.ops.plain_layers import are_plain

PRODUCTS = (nn.Linear, _ConvNd, nn.MultiheadAttention)
"""Layers whose products autocast computes in half precision. Weights of those that are not plain
stay as they are: autocast keeps no casts of weights that are given once for every pass."""


class Treatment(NamedTuple):
    """What is done with a weight.

    Attributes:
        learns: it needs a gradient.
        lowered: it is cast once.
        repeated: it is given once for every pass.
    """

    learns: bool
    lowered: bool
    repeated: bool


class _Repeated(torch.autograd.Function):
    """Tensors, each once for every pass."""

    @staticmethod
    def forward(ctx: Any, passes: int, *weights: Tensor) -> tuple[Tensor, ...]:
        """All tensors for the first pass, all for the second, and so on."""
        ctx.set_materialize_grads(False)
        ctx.passes = passes
        ctx.strides = [x.stride() for x in weights]
        return tuple(x.detach() for _ in range(passes) for x in weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Add up, beginning with the last pass, as autograd does."""
        number = len(grads) // ctx.passes
        totals: list[Tensor | None] = [None] * number
        for first in range(len(grads) - number, -1, -number):
            totals = _sums(totals, grads[first : first + number])
        return None, *(
            None if total is None else laid_as(total, stride)
            for total, stride in zip(totals, ctx.strides, strict=True)
        )


def _sums(left: list[Tensor | None], right: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """Sums of two lists; where one has nothing, what the other has."""
    out = [y if x is None else x for x, y in zip(left, right, strict=True)]
    pairs = [
        (i, x, y)
        for i, (x, y) in enumerate(zip(left, right, strict=True))
        if x is not None and y is not None
    ]
    if pairs:
        totals = torch._foreach_add([x for _, x, _ in pairs], [y for _, _, y in pairs])
        for (i, _, _), total in zip(pairs, totals, strict=True):
            out[i] = total
    return out


@contextmanager
def several_passes(network: nn.Module, passes: int) -> Iterator[Callable[[int], None]]:
    """Prepare a network for so many passes, and put everything back afterwards.

    Inside, hooks of its layers must not change weights, and counters begin at 0.

    Gives:
        What is to be called before each pass, with its number from 0.
    """
    groups = _groups(network, passes)
    of_passes = [_weights_of_passes(*pair, passes) for pair in groups.items()]

    def begin(number: int) -> None:
        for places, weights in zip(groups.values(), of_passes, strict=True):
            put(places, weights[number])

    try:
        with _counted(network):
            yield begin
    finally:
        for places in groups.values():
            put_back(places)


def _groups(network: nn.Module, passes: int) -> dict[Treatment, list[Place]]:
    """Weights by what is done with them; without those that stay as they are."""
    groups: dict[Treatment, list[Place]] = defaultdict(list)
    repeats = passes > 1 and torch.is_grad_enabled()
    for module in network.modules():
        is_product = isinstance(module, PRODUCTS)
        if is_product and not are_plain(module):
            continue
        for name, weight in module._parameters.items():
            if weight is None:
                continue
            treatment = Treatment(
                learns=weight.requires_grad,
                lowered=is_product and weight.dtype == torch.float32 and lowers_at(weight),
                repeated=repeats and weight.requires_grad,
            )
            if treatment.lowered or treatment.repeated:
                groups[treatment].append((module._parameters, name, weight))
    return groups


def _weights_of_passes(
    treatment: Treatment, places: list[Place], passes: int
) -> Sequence[Sequence[Tensor]]:
    weights: Sequence[Tensor] = [weight for _, _, weight in places]
    if treatment.lowered:
        weights = cast_weights(weights)
    if not treatment.repeated:
        return [weights] * passes
    copies = _Repeated.apply(passes, *weights)
    return [copies[i : i + len(weights)] for i in range(0, len(copies), len(weights))]


@contextmanager
def _counted(network: nn.Module) -> Iterator[None]:
    """Count batches beside the device, then move its counters all at once."""
    tensors = {
        norm: norm._buffers['num_batches_tracked']
        for norm in network.modules()
        # Without a momentum the count weighs the statistics.
        if isinstance(norm, _BatchNorm) and norm.training and norm.momentum is not None
    }
    counts = {
        norm: torch.zeros_like(tensor, device='cpu')
        for norm, tensor in tensors.items()
        if tensor is not None
    }
    for norm, count in counts.items():
        norm._buffers['num_batches_tracked'] = count
    try:
        yield
    finally:
        moved: dict[int, list[Tensor]] = defaultdict(list)
        for norm, count in counts.items():
            tensor = norm._buffers['num_batches_tracked'] = tensors[norm]
            if tensor is not None and count:
                moved[int(count)].append(tensor)
        for number, counted in moved.items():
            torch._foreach_add_(counted, number)
