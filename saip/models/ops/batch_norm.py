"""BatchNorm whose statistics are those of all processes, on GPUs and on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_world_size
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from saip.models.ops.precision import widen


class CPUSyncBatchNorm(_BatchNorm):
    """Synchronized BatchNorm for tensors on the CPU.

    torch's own refuses them, and DistributedDataParallel refuses its subclasses on the CPU.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C, ...)."""
        if not self.training or get_world_size() == 1:
            return super().forward(x)
        # Two reductions instead of one: E[x^2] - E[x]^2 loses digits where the mean is large.
        wide = widen(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count = wide.new_tensor([x.numel() / x.shape[1]])
        sums = all_reduce(torch.cat([wide.sum(axes), count]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        shape = [1, -1] + [1] * (x.ndim - 2)
        centered = wide - mean.view(shape)
        variance = all_reduce(centered.square().sum(axes)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        out = centered * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics; the variance is the unbiased one, as torch keeps it."""
        if self.running_mean is None or self.running_var is None:
            return
        steps: Any = self.num_batches_tracked
        steps += 1
        weight = self.momentum if self.momentum is not None else 1 / steps
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


class CPUSyncBatchNormAct(CPUSyncBatchNorm):
    """The same for timm's BatchNorm that contains the activation after it."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return self.act(self.drop(super().forward(x)))


def synchronize_batch_norm(network: nn.Module) -> None:
    """Replace every BatchNorm below ``network`` by a synchronized one with the same tensors.

    By torch's where there is a GPU. State-dict keys and the parameter objects stay the same.
    """
    if torch.cuda.is_available():
        convert_sync_batchnorm(network)
    else:
        _synchronize_on_cpu(network)


def _synchronize_on_cpu(network: nn.Module) -> None:
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            network.add_module(name, _twin(child))
        else:
            _synchronize_on_cpu(child)


def _twin(norm: _BatchNorm) -> CPUSyncBatchNorm:
    with_activation = isinstance(norm, BatchNormAct2d)
    twin = (CPUSyncBatchNormAct if with_activation else CPUSyncBatchNorm)(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    twin._parameters.update(norm._parameters)
    twin._buffers.update(norm._buffers)
    twin.training = norm.training
    if with_activation:
        twin.drop, twin.act = norm.drop, norm.act
    return twin
