"""The optimizer wrapper: bfloat16 on any device, no step on values that are not finite."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import Tensor, nn

from saip.engine.cpu_bfloat16 import stays_in_float32
from saip.engine.fused import fused_as_now, skips_on_device
from saip.engine.kept_buffers import KeptBuffers
from saip.engine.stepped import Stepped
from saip.errors import InputError
from saip.models.ops import skipping
from saip.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Forward in bfloat16 (``torch.autocast``), weights and optimizer states in float32.

    bfloat16 has the exponents of float32, so no gradient needs scaling. mmengine's own wrapper
    insists on a GPU; this one runs on CPU and GPU alike, on a CPU in float32 where bfloat16 is
    slow or not safe there (:mod:`saip.engine.cpu_bfloat16`). Accumulation and clipping are as in
    ``OptimWrapper``, but the gradient norm stays on the device until the next line of the log, and
    ``clip_grad=dict(type='per_tensor', max_norm=...)`` clips each tensor by itself, as DINO does.

    A step whose loss or gradients are not finite is skipped: weights, optimizer states, buffers
    and what :meth:`connect` names stay as they were when the accumulated micro-batches began. A
    loss that is not finite gives gradients that are not, so that distributed training hands the
    news to all processes with the reduction that it does anyway. On a GPU the optimizer itself
    decides on the device if it is fused (``saip.NoBiasDecayConstructor`` sees to that); any other
    makes the host wait for the device once per step.

    Args:
        dtype: ``bfloat16``, or ``float32`` for no autocast.
        clip_grad: see ``OptimWrapper``, or per tensor; None does not clip.
        kwargs: other arguments of ``mmengine.optim.OptimWrapper``: ``optimizer``,
            ``accumulative_counts``.
    """

    gradient_norm: Tensor | None = None
    """The norm that clipping found in the last optimizer step, shape (), not read yet."""

    skipped: Tensor | None = None
    """Whether the last optimizer step was skipped, () bool on the device, not read yet."""

    def __init__(
        self, clip_grad: dict[str, Any] | None = None, dtype: str = 'bfloat16', **kwargs: Any
    ) -> None:
        if dtype not in ('bfloat16', 'float32'):
            raise InputError(f"optim_wrapper.dtype={dtype!r}: choose 'bfloat16' or 'float32'")
        self.lowers_precision = dtype == 'bfloat16'
        clip_grad = None if clip_grad is None else dict(clip_grad)
        self.clips_per_tensor = clip_grad is not None and clip_grad.get('type') == 'per_tensor'
        if clip_grad is not None and self.clips_per_tensor:
            clip_grad['type'] = 'norm'
        super().__init__(clip_grad=clip_grad, **kwargs)
        self._stays_wide: bool | None = None
        self._stepped: Stepped | None = None
        self._buffers: KeptBuffers | None = None
        self._in_window = False
        self.optimizer.register_load_state_dict_pre_hook(fused_as_now)

    def connect(self, model: Stepped) -> None:
        """Tell a model of every optimizer step and of every micro-batch from now on."""
        self._stepped = model

    def initialize_count_status(
        self, model: nn.Module, init_counts: int, max_counts: int
    ) -> None:
        """Learn how long the run is; called once the weights are loaded."""
        super().initialize_count_status(model, init_counts, max_counts)
        self._buffers = None
        self._in_window = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast, with a copy of the buffers from before it."""
        if self._buffers is None:
            self._buffers = KeptBuffers(model)
        elif not self._in_window:
            self._buffers.keep()
        self._in_window = True
        if self._stays_wide is None:
            self._stays_wide = self.lowers_precision and stays_in_float32(model)
        lowers = self.lowers_precision and not self._stays_wide
        precision = autocast(enabled=lowers, dtype=torch.bfloat16)
        with super().optim_context(model), precision:
            yield

    def pop_gradient_norm(self) -> Tensor | None:
        """Return the norm of the last step once; ``None`` where no step was made since."""
        norm, self.gradient_norm = self.gradient_norm, None
        return norm

    def pop_skipped(self) -> Tensor | None:
        """Return once whether the last step was skipped; ``None`` where none was due since."""
        skipped, self.skipped = self.skipped, None
        return skipped

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Backward pass, optimizer step if one is due, and the model's own state."""
        super().update_params(loss, step_kwargs, zero_kwargs)
        if self._stepped is not None:
            self._stepped.after_micro_batch()

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Backward pass; a loss that is not finite makes gradients that are not."""
        bad = loss.detach().isfinite().logical_not()
        # 1 or NaN. An infinite loss may have finite gradients, which no other process would see.
        super().backward(loss * torch.ones_like(loss).masked_fill(bad, float('nan')), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip, look, step; or leave everything as it was before the micro-batches."""
        skipped = self._clip_and_check()
        if self._stepped is not None:
            self._stepped.before_optimizer_step()
        if not skipping.readable(skipped) and skips_on_device(self.optimizer):
            optimizer: Any = self.optimizer
            optimizer.found_inf = skipped.float()
            optimizer.step(**kwargs)
            optimizer.found_inf = None  # a path that is not fused insists on None
        elif not skipped:
            self.optimizer.step(**kwargs)
        self._in_window = False
        if self._buffers is not None:
            self._buffers.restore(skipped)
        if self._stepped is not None:
            self._stepped.after_optimizer_step(skipped)
        self.skipped = skipped

    def _clip_and_check(self) -> Tensor:
        """Clip the gradients; () bool, whether any is not finite."""
        gradients = [
            parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group['params']
            if parameter.grad is not None
        ]
        if not gradients:
            return torch.zeros((), dtype=torch.bool)
        by_norm = self.clip_grad_kwargs and self.grad_name == 'grad_norm'
        # Clipping by value hides an infinite gradient.
        norm = None if by_norm else norm_of(gradients)
        if self.clip_grad_kwargs:
            self._clip_grad()
        norm = self.gradient_norm if norm is None else norm
        assert norm is not None
        return norm.isfinite().logical_not()

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


def norm_of(gradients: list[Tensor]) -> Tensor:
    """Norm of all gradients together, shape (): finite if each of them is."""
    norms = torch._foreach_norm(gradients)
    return torch.linalg.vector_norm(torch.stack(list(norms)))
