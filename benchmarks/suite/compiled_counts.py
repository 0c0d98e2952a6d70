"""Kernels that compiled functions start, counted without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any
from unittest import mock

import torch
from torch._inductor import config
from torch._inductor.compile_fx import compile_fx, compile_fx_inner
from torch._inductor.scheduler import ExternKernelSchedulerNode, NopKernelSchedulerNode

from saip import compiling
from suite.counts import as_on_a_gpu, figure_of, kernels_by_part
from suite.figures import Part
from suite.sizes import Sizes
from suite.training import model_config


class GeneratedKernels:
    """A backend of ``torch.compile`` that counts the kernels which inductor's code starts.

    What inductor's scheduler has fused is one kernel on a GPU. Products of matrices and other
    operators that it leaves to torch are not among them: the count of operators finds those.
    """

    def __init__(self) -> None:
        self.started = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        """Compile with inductor."""
        return compile_fx(graph, inputs, inner_compile=self._compile)

    def _compile(self, graph: Any, inputs: Any, **options: Any) -> Any:
        kernels = 0

        def count(nodes: list[Any]) -> list[Any]:
            nonlocal kernels
            others = (ExternKernelSchedulerNode, NopKernelSchedulerNode)
            kernels = sum(not isinstance(node, others) for node in nodes)
            return nodes

        with config.patch(_post_fusion_custom_pass=count):
            code = compile_fx_inner(graph, inputs, **options)
        run = code.current_callable

        def counted(values: list[Any]) -> Any:
            self.started += kernels
            return run(values)

        code.current_callable = counted
        return code


def measure(sizes: Sizes) -> Part:
    """Kernels of a step with ``model.compile``."""
    backend = GeneratedKernels()
    compiled = cache(partial(torch.compile, fullgraph=True, dynamic=True, backend=backend))
    compiling.limit_graphs()
    cfg = model_config('saip', sizes.encoder, {'compile': True})
    with (
        as_on_a_gpu(),
        mock.patch.object(compiling, 'compiled', compiled),
        # A graph from its cache would come without a count.
        torch._functorch.config.patch(enable_autograd_cache=False),
    ):
        parts = kernels_by_part(cfg, lambda: backend.started)
    return Part([figure_of(parts, 'kernels_compiled', 'with model.compile')])
