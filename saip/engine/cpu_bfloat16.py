"""Which models compute in bfloat16 on a CPU as they should, and which CPU does so fast."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

INSTRUCTIONS = {'avx512_bf16', 'amx_bf16', 'bf16'}
"""Names that Linux gives instructions for bfloat16, of x86 and of ARM."""


def overlapping_strides(model: nn.Module) -> Iterator[str]:
    """Names of the convolutions whose windows overlap and that skip positions.

    oneDNN's bfloat16 kernels of these read uninitialized memory where maps are small:
    with torch 2.13 a 3x3 convolution of stride 2 on a 4x2 map gives NaN now and then on a processor
    with AMX, and its gradient on maps of one column on every processor tried. Otherwise the values
    are wrong by whatever the memory held. Embeddings of patches, convolutions of stride 1 and
    depthwise ones were right in all sizes that were tried, as was everything in float32.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and any(
            1 < stride < size
            for stride, size in zip(layer.stride, layer.kernel_size, strict=True)
        ):
            yield name


def has_instructions(processor: Path = Path('/proc/cpuinfo')) -> bool:
    """Whether the processor has instructions for bfloat16; not where it is not known.

    Args:
        processor: what Linux says of it.
    """
    return processor.exists() and not INSTRUCTIONS.isdisjoint(processor.read_text().split())


def is_unsafe(model: nn.Module) -> bool:
    """Whether bfloat16 is not safe for a model where it lies; says so in the log."""
    if next(model.parameters()).device.type != 'cpu':
        return False
    name = next(overlapping_strides(model), None)
    if name is None:
        return False
    print_log(
        f'computing in float32: on a CPU bfloat16 is not safe for convolutions such as {name}, '
        'whose windows overlap and have a stride',
        'current',
        logging.WARNING,
    )
    return True


def stays_in_float32(model: nn.Module) -> bool:
    """Whether bfloat16 is slow or unsafe for a model where it lies; says so in the log."""
    if next(model.parameters()).device.type == 'cpu' and not has_instructions():
        print_log(
            'computing in float32: this processor is not known to have instructions for bfloat16, '
            'without which it takes longer',
            'current',
        )
        return True
    return is_unsafe(model)
