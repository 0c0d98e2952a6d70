"""Kernels that compiled functions start, counted without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any
from unittest import mock

import torch
from torch import SymInt, Tensor
from torch._inductor import config
from torch._inductor.compile_fx import compile_fx, compile_fx_inner
from torch._inductor.scheduler import ExternKernelSchedulerNode, NopKernelSchedulerNode

from saip import compiling
from saip.analysis.step_flops import step_cost
from suite.counts import (
    IMAGES,
    Traffic,
    as_on_a_gpu,
    figure_of,
    kernels_by_part,
    traffic_figure,
)
from suite.figures import Part
from suite.sizes import Sizes
from suite.training import model_config


class GeneratedKernels:
    """A backend of ``torch.compile`` that counts the kernels which inductor's code starts.

    What inductor's scheduler has fused is one kernel on a GPU. Products of matrices and other
    operators that it leaves to torch are not among them: the count of operators finds those.

    Attributes:
        started: kernels so far.
        moved: bytes that they read and wrote. A graph is for all sizes of views; its bytes are
            those of the sizes that it was made with, times what its inputs have grown by.
    """

    def __init__(self) -> None:
        self.started = 0
        self.moved = 0.0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        """Compile with inductor."""
        return compile_fx(graph, inputs, inner_compile=self._compile)

    def _compile(self, graph: Any, inputs: Any, **options: Any) -> Any:
        kernels, moved = 0, 0
        made_with = size_of(inputs)

        def count(nodes: list[Any]) -> list[Any]:
            nonlocal kernels, moved
            others = (ExternKernelSchedulerNode, NopKernelSchedulerNode)
            generated = [node for node in nodes if not isinstance(node, others)]
            kernels = len(generated)
            moved = sum(node.get_read_write_buffers_sizes() for node in generated)
            return nodes

        with config.patch(_post_fusion_custom_pass=count):
            code = compile_fx_inner(graph, inputs, **options)
        run = code.current_callable

        def counted(values: list[Any]) -> Any:
            self.started += kernels
            self.moved += moved * size_of(values) / max(made_with, 1)
            return run(values)

        code.current_callable = counted
        return code


def size_of(inputs: Any) -> int:
    """Bytes of a graph's inputs; of those that it is made with, by the sizes of that call."""
    counts = ((x.numel(), x.element_size()) for x in inputs if isinstance(x, Tensor))
    return sum(int(n.node.hint if isinstance(n, SymInt) else n) * size for n, size in counts)


def measure(sizes: Sizes) -> Part:
    """Kernels of a step with ``model.compile``, and the bytes that they move."""
    backend = GeneratedKernels()
    compiled = cache(partial(torch.compile, fullgraph=True, dynamic=True, backend=backend))
    compiling.limit_graphs()
    cfg = model_config('saip', sizes.encoder, {'compile': True})
    # Counted by a mode under which nothing is compiled.
    flops = sum(step_cost(model_config('saip', sizes.encoder)).flops.values())
    with (
        as_on_a_gpu(),
        mock.patch.object(compiling, 'compiled', compiled),
        # A graph from its cache would come without a count.
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        parts = kernels_by_part(cfg, lambda: backend.started)
        few, many = (
            kernels_by_part(cfg, lambda: round(backend.moved), Traffic, n)
            for n in (IMAGES, 2 * IMAGES)
        )
    how = 'with model.compile'
    return Part(
        [
            figure_of(parts, 'kernels_compiled', how),
            traffic_figure(few, many, flops, 'traffic_compiled', how),
        ]
    )
