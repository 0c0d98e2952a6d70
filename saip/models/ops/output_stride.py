"""A network whose last stage keeps the stride of the one before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saip.errors import InputError

PROBE = (128, 96)
"""(height, width) of an image whose maps at every stride have sizes of their own."""


def keep_stride(
    network: nn.Module, run: Callable[[Tensor], Any], stride: int, title: str
) -> list[str]:
    """Set the stride of what halves the map of a stride to 1, in place.

    Kernels and weights stay as they are, without dilation: files of the network load unchanged.

    Args:
        network: the network.
        run: encodes (1, 3, h, w) images to the end.
        stride: of the map that is to be kept.
        title: name of the network, for messages.

    Returns:
        Names of the layers in the network.

    Raises:
        InputError: it is halved by a layer that cannot keep the size: one with an even kernel, or
            none that is a convolution.
    """
    before = tuple(side // stride for side in PROBE)
    after = tuple(side // 2 for side in before)
    halving: dict[nn.Module, str] = {}
    names = {module: name for name, module in network.named_modules()}

    def look(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        shapes = [
            tuple(x.shape[-2:]) if torch.is_tensor(x) and x.ndim == 4 else None
            for x in (args[0] if args else None, out)
        ]
        if shapes == [before, after] and not list(module.children()):
            halving[module] = names[module]

    hooks = [module.register_forward_hook(look) for module in network.modules()]
    training = network.training
    network.eval()
    like = next(network.parameters())
    with torch.no_grad():
        run(like.new_zeros(1, 3, *PROBE))
    network.train(training)
    for hook in hooks:
        hook.remove()
    if not halving:
        raise InputError(f'{title} has no layer that halves its map of stride {stride}')
    for layer in halving:
        if not isinstance(layer, nn.Conv2d) or any(
            size % 2 == 0 or pad != size // 2
            for size, pad in zip(layer.kernel_size, layer.padding, strict=True)
        ):
            raise InputError(
                f'{title}: output_stride={stride} is not possible: its last stage begins with '
                f'{layer}, which without a stride does not keep the size of its map'
            )
    for layer in halving:
        layer.stride = (1, 1)  # type: ignore[assignment]
    return list(halving.values())
