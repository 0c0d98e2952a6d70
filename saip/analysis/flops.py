"""Counting the floating-point operations of a computation, and those of an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from saip.checkpoint.controller import without_controller
from saip.registry import MODELS

CLASSES = 1000
"""Of ImageNet's classifier, which published parameter counts often include."""

TABLE_1 = {
    'vit-tiny-p16': '5.5',
    'starnet-s3': '5.8',
    'tinyvit-5m': '5.4',
    'edgenext-s': '5.6',
    'cspnext-s': '4.4',
    'resnet18': '11',
}
"""Millions of parameters as the paper's Table I prints them, by backbone fragment."""


def count_flops(compute: Callable[[], Any]) -> int:
    """Floating-point operations of matrix products and convolutions, backward pass included.

    Tensors on the ``meta`` device cost nothing to count.

    Args:
        compute: runs the computation once.

    Returns:
        Operations; a multiply-add counts as two.
    """
    with flop_counter() as counter:
        compute()
    return counter.get_total_flops()


@contextmanager
def flop_counter() -> Iterator[FlopCounterMode]:
    """Count what is computed inside; ``get_total_flops()`` of the counter says how much.

    torch's counter does not see the CPU's fused attention, so attention is computed by plain
    matrix products while counting. Of the gradient of a grouped convolution's weights it counts
    the products between groups too, hence a formula of our own.
    """
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward}
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=formulas) as counter,
    ):
        yield counter


def _convolution_backward(
    grad: list[int], x: list[int], weight: list[int], *args: Any, **_: Any
) -> int:
    """The gradients of input and weights, where asked for, each cost what the output costs."""
    transposed, asked = args[4], args[7]
    return (asked[0] + asked[1]) * conv_flop_count(x, weight, grad, transposed)


@dataclass(frozen=True)
class EncoderCost:
    """Cost of an encoder.

    Attributes:
        parameters: of the encoder alone.
        with_classifier: the same with a linear layer from the image token to 1,000 classes.
        flops: operations of one image's image and patch tokens; a multiply-add counts as two.
    """

    parameters: int
    with_classifier: int
    flops: int

    def matches(self, millions: str) -> str:
        """Which of the two counts rounds to a printed one: ``without`` or ``with`` a head.

        Args:
            millions: as printed, for example ``5.5``; its digits say how it was rounded.
        """
        digits = len(millions.partition('.')[2])
        counts = {'without': self.parameters, 'with': self.with_classifier}
        found = [
            name for name, n in counts.items() if round(n / 1e6, digits) == float(millions)
        ]
        return ' and '.join(found) or 'neither'


def encoder_cost(backbone: dict[str, Any], size: tuple[int, int]) -> EncoderCost:
    """Count parameters and operations of an encoder, as it is exported.

    A semantic controller is folded into the norms there, and therefore costs nothing.

    Args:
        backbone: its configuration; ``img_size`` becomes ``size``.
        size: (height, width) of the image.
    """
    with torch.device('meta'):
        encoder = MODELS.build({**backbone, 'img_size': size})
        if encoder.has_controller and encoder.controller.foldable:
            encoder = MODELS.build(without_controller(encoder.architecture()))
        encoder.eval()
        images = torch.empty(1, 3, *size)
    with torch.no_grad():
        flops = count_flops(lambda: encoder.encode(images))
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return EncoderCost(parameters, parameters + (encoder.embed_dims + 1) * CLASSES, flops)
