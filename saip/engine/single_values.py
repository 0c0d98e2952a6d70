"""BatchNorm that would see a single value per channel, found before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler

from saip.engine.loops import unwrapped
from saip.models.ops.batch_norm import CPUSyncBatchNorm

_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def smallest_batch(loader: Any) -> int | None:
    """Number of images in the smallest batch of a loader; None if its sampler does not say."""
    batches = unwrapped(loader.batch_sampler)
    if type(batches) is not BatchSampler or batches.drop_last:
        return getattr(batches, 'batch_size', None)
    return len(batches.sampler) % batches.batch_size or batches.batch_size  # type: ignore[arg-type]


def single_values(model: nn.Module) -> Iterator[str]:
    """Names of the norms whose input, of one image, is a single value per channel.

    These are the ones in training mode behind a pooling to 1 x 1 in an ``nn.Sequential``, such as
    the branch of pyramid pooling that sees the whole image, unless their statistics are those of
    several processes.
    """
    for name, parent in model.named_modules():
        if not isinstance(parent, nn.Sequential):
            continue
        pooled = False
        for place, child in parent.named_children():
            pooled = pooled or (
                isinstance(child, _POOLS) and child.output_size in (1, (1, 1), [1, 1])
            )
            if not pooled:
                continue
            for inner, layer in child.named_modules(prefix=place):
                if _needs_two(layer):
                    yield f'{name}.{inner}' if name else inner


def _needs_two(layer: nn.Module) -> bool:
    shared = isinstance(layer, nn.SyncBatchNorm | CPUSyncBatchNorm) and get_world_size() > 1
    return isinstance(layer, _BatchNorm) and layer.training and not shared
