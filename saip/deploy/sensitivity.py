"""Which layers of an int8 model have to stay in float."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from saip.deploy.judge import COSINE, KEPT_SHARE, Kept, QuantizationError, refuse

GROUPS = 16
"""Groups of layers whose sensitivity is measured: one by one takes minutes for a hundred layers."""

Model = TypeVar('Model')


def keep_in_float(
    layers: Sequence[str],
    quantize: Callable[[Sequence[str]], Model],
    cosine: Callable[[Model], float],
    keeps_metric: Callable[[Model], bool],
) -> tuple[Model, Kept]:
    """Quantize a model; layers that cost too much stay in float.

    Where the whole model in int8 is not like the one in float, groups of neighboring layers are
    quantized alone, and the fewest of the most sensitive that have to stay in float are found by
    bisection.

    Args:
        layers: names of those that can be quantized, in the order of the graph.
        quantize: makes the int8 model in which some layers stay in float.
        cosine: of centered outputs of an int8 model and the one in float, the smallest of all.
        keeps_metric: whether an int8 model still does its task; asked where the cosine is large
            enough.

    Returns:
        The int8 model, and what stays in float.

    Raises:
        QuantizationError: there is nothing to quantize, or more than half of the layers would have
            to stay in float.
    """
    if not layers:
        raise QuantizationError('the model has no convolution and no matrix product')

    def fine(candidate: Model) -> bool:
        return cosine(candidate) >= COSINE and keeps_metric(candidate)

    whole = quantize(())
    if fine(whole):
        return whole, Kept((), len(layers))
    groups = neighbors(layers)
    alone = [cosine(quantize([name for name in layers if name not in g])) for g in groups]
    ranked = [groups[i] for i in np.argsort(alone, kind='stable')]
    low, high = 0, int(KEPT_SHARE * len(groups))
    kept = flat(ranked[:high])
    found = quantize(kept)
    if not fine(found):
        raise refuse(len(kept), len(layers), cosine(found))
    while high - low > 1:  # low fails, high is fine
        middle = (low + high) // 2
        fewer = flat(ranked[:middle])
        candidate = quantize(fewer)
        if fine(candidate):
            high, kept, found = middle, fewer, candidate
        else:
            low = middle
    return found, Kept(tuple(kept), len(layers))


def neighbors(layers: Sequence[str]) -> list[list[str]]:
    """Split layers into at most ``GROUPS`` groups of neighbors."""
    length = math.ceil(len(layers) / GROUPS)
    return [list(layers[i : i + length]) for i in range(0, len(layers), length)]


def flat(groups: Sequence[Sequence[str]]) -> list[str]:
    """The layers of groups, in their order."""
    return [name for group in groups for name in group]
