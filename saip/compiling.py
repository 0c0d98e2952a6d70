"""Functions that ``torch.compile`` may fuse, and the switch of the modules that call them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn
from torch.fx.experimental import _config as shapes

GRAPHS = 64
"""Graphs of one function: by width, precision, and whether there is a gradient."""

Result = TypeVar('Result')


class Compilable:
    """Something whose functions are compiled if ``compiles`` is set.

    What stands in it is always under autocast in mixed precision.
    """

    compiles: bool = False

    in_float32: tuple[str, ...] = ()
    """Children that autocast computes in float32 altogether, such as a final norm."""

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call a pure function of tensors, compiled or not."""
        return (compiled(function) if self.compiles else function)(*args)


def compile_functions(model: nn.Module) -> None:
    """Let all modules of a model compile their functions, each at its first call."""
    for module in model.modules():
        if isinstance(module, Compilable):
            module.compiles = True


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as one graph without breaks, for tensors of any size."""
    limit_graphs()
    return torch.compile(function, fullgraph=True, dynamic=True)


def limit_graphs() -> None:
    """Let a function have one graph for all sizes, and as many as it has other differences."""
    dynamo: Any = torch._dynamo.config
    dynamo.cache_size_limit = max(dynamo.cache_size_limit, GRAPHS)
    # Otherwise sides that happen to be equal when a graph is made would have to stay so.
    shapes.use_duck_shape = False
