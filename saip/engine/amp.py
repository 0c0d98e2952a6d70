"""Optimizer wrappers: bfloat16 on any device, gradient norms logged without a wait."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from saip.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Forward in bfloat16 (``torch.autocast``), weights and optimizer states in float32.

    bfloat16 has the exponents of float32, so no gradient needs scaling. mmengine's own wrapper
    insists on a GPU; this one runs on CPU and GPU alike. Accumulation and clipping are as in
    ``OptimWrapper``, but the gradient norm stays on the device until the next line of the log.

    Args:
        kwargs: arguments of ``mmengine.optim.OptimWrapper``: ``optimizer``,
            ``accumulative_counts``, ``clip_grad``.
    """

    gradient_norm: torch.Tensor | None = None
    """The norm that clipping found in the last optimizer step, shape (), not yet read by
    anybody."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield

    def pop_gradient_norm(self) -> torch.Tensor | None:
        """Return the norm of the last step once; ``None`` where no step was made since."""
        norm, self.gradient_norm = self.gradient_norm, None
        return norm

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group['params'] if p.grad is not None]
        if parameters:
            # The parent turns the norm into a float here, for which the host waits at every
            # step.
            self.gradient_norm = self.clip_func(parameters, **self.clip_grad_kwargs)
