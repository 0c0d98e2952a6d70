"""A network whose last stage keeps the stride of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saip.errors import InputError

PROBE = (128, 96)
"""(height, width) of an image whose maps at every stride have sizes of their own."""


def keep_stride(network: Any, stride: int, title: str) -> list[str]:
    """Set the stride of what halves the map of the last stage but one to 1, in place.

    Kernels and weights stay as they are, without dilation: files of the network load unchanged,
    and the maps of the other stages are the same.

    Args:
        network: a network of timm with ``forward_intermediates``.
        stride: of the last stage but one.
        title: name of the network, for messages.

    Returns:
        Names of the layers in the network.

    Raises:
        InputError: another stage has this stride, or it is halved by a layer that cannot keep the
            size (one with an even kernel, or none that is a convolution), or by one that another
            stage reads.
    """
    image = torch.randn(1, 3, *PROBE, generator=torch.Generator().manual_seed(0))
    training = network.training
    network.eval()
    halving: dict[nn.Module, str] = {}
    wanted = _size(stride), _size(2 * stride)

    def note(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        sizes = tuple(
            tuple(x.shape[-2:]) if torch.is_tensor(x) and x.ndim == 4 else None
            for x in (args[0] if args else None, out)
        )
        if sizes == wanted and not list(module.children()):
            halving[module] = names[module]

    names = {module: name for name, module in network.named_modules()}
    hooks = [module.register_forward_hook(note) for module in names]
    before = _maps(network, image)
    for hook in hooks:
        hook.remove()
    if tuple(map(_size_of, before[-2:])) != wanted:
        raise InputError(
            f'{title}: output_stride={stride} is not possible: its last stage is not the one '
            f'after stride {stride}'
        )
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
    after = _maps(network, image)
    # Without memory for its tensors a network shows sizes alone.
    compare = _same_size if after[-1].is_meta else torch.equal
    same = all(map(compare, before[:-1], after[:-1]))
    if not same or _size_of(after[-1]) != _size(stride):
        raise InputError(
            f'{title}: output_stride={stride} is not possible: what halves its map of stride '
            f'{stride} ({", ".join(halving.values()) or "no layer alone"}) does not lie between '
            'its last two stages'
        )
    network.train(training)
    return list(halving.values())


def _maps(network: Any, image: Tensor) -> Sequence[Tensor]:
    with torch.no_grad():
        maps: Sequence[Tensor] = network.forward_intermediates(image, intermediates_only=True)
    return maps


def _same_size(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape


def _size(stride: int) -> tuple[int, ...]:
    return tuple(side // stride for side in PROBE)


def _size_of(image: Tensor) -> tuple[int, ...]:
    return tuple(image.shape[-2:])
