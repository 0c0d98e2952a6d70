"""Optimizer wrappers: bfloat16 on any device, gradient norms logged without a wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from saip.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward in bfloat16 (``torch.autocast``), weights and optimizer states in float32.

    bfloat16 has the exponents of float32, so no gradient needs scaling. mmengine's own wrapper
    insists on a GPU; this one runs on CPU and GPU alike. Accumulation and clipping are as in
    ``OptimWrapper``, but the gradient norm stays on the device until the next line of the log, and
    ``clip_grad=dict(type='per_tensor', max_norm=...)`` clips each tensor by itself, as DINO does.

    Args:
        dtype: ``bfloat16``, or ``float32`` for no autocast.
        clip_grad: see ``OptimWrapper``, or per tensor; None does not clip.
        kwargs: other arguments of ``mmengine.optim.OptimWrapper``: ``optimizer``,
            ``accumulative_counts``.
    """

    gradient_norm: torch.Tensor | None = None
    """The norm that clipping found in the last optimizer step, shape (), not yet read by
    anybody."""

    def __init__(
        self, clip_grad: dict[str, Any] | None = None, dtype: str = 'bfloat16', **kwargs: Any
    ) -> None:
        if dtype not in ('bfloat16', 'float32'):
            raise ValueError(f"optim_wrapper.dtype={dtype!r}: choose 'bfloat16' or 'float32'")
        self.lowers_precision = dtype == 'bfloat16'
        clip_grad = None if clip_grad is None else dict(clip_grad)
        self.clips_per_tensor = clip_grad is not None and clip_grad.get('type') == 'per_tensor'
        if clip_grad is not None and self.clips_per_tensor:
            clip_grad['type'] = 'norm'
        super().__init__(clip_grad=clip_grad, **kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        precision = autocast(enabled=self.lowers_precision, dtype=torch.bfloat16)
        with super().optim_context(model), precision:
            yield

    def pop_gradient_norm(self) -> torch.Tensor | None:
        """Return the norm of the last step once; ``None`` where no step was made since."""
        norm, self.gradient_norm = self.gradient_norm, None
        return norm

    def _clip_grad(self) -> None:
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group['params'] if p.grad is not None]
        if not parameters:
            return
        if self.clips_per_tensor:
            norms = [self.clip_func([p], **self.clip_grad_kwargs) for p in parameters]
            self.gradient_norm = torch.linalg.vector_norm(torch.stack(norms))
        else:
            # The parent turns the norm into a float here, for which the host waits at every
            # step.
            self.gradient_norm = self.clip_func(parameters, **self.clip_grad_kwargs)
