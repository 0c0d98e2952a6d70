"""A network as a device runs it, and what its caller has to know.

Legend: B images or captions, h and w of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saip.errors import InputError
from saip.structures import Grid

IMAGES = 'images'
"""Name of the input of images."""


@dataclass(frozen=True)
class Output:
    """One output of a program.

    Attributes:
        name: in the exported file.
        meaning: what it holds, for the file's metadata.
        decoded: it jumps where two values that it is decided by are nearly equal (a label, a place
            of a maximum), so that single values may differ from those of the source.
    """

    name: str
    meaning: str
    decoded: bool = False


@dataclass(frozen=True)
class Program:
    """A network with everything around it that belongs into its file.

    Attributes:
        task: what it does, such as ``encoder``.
        network: input (B, ...) -> tuple of tensors (B, ...), in the order of ``outputs``.
        input: plain values: ``name``, ``shape`` without B, ``type``, and for images
            ``color_order`` and ``resize``.
        outputs: in their order.
        about: further plain values for the metadata, such as ``classes``.
        part: second half of the name where a task has several files; empty otherwise.
        examples: (N, ...) inputs to compare on, where they are no images.
        fixed_batch: it takes one image at a time, whatever is asked for.
    """

    task: str
    network: nn.Module
    input: dict[str, Any]
    outputs: tuple[Output, ...]
    about: dict[str, Any] = field(default_factory=dict)
    part: str = ''
    examples: np.ndarray | None = None
    fixed_batch: bool = False

    @property
    def size(self) -> Grid:
        """(height, width) of the images."""
        height, width, _ = self.input['shape']
        return height, width

    @torch.inference_mode()
    def run(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on a batch of numpy; its outputs by name, numpy."""
        found = self.network(torch.from_numpy(inputs))
        return {o.name: x.numpy() for o, x in zip(self.outputs, found, strict=True)}


def image_input(size: Grid, resize: str) -> dict[str, Any]:
    """Describe an input of images.

    Args:
        size: (height, width).
        resize: filter of Pillow by which images come to this size.
    """
    return {
        'name': IMAGES,
        'shape': [*size, 3],
        'type': 'uint8',
        'color_order': 'RGB',
        'resize': resize,
    }


class FromPixels(nn.Module):
    """Pixels as a decoder gives them, normalized for a network.

    Args:
        network: normalized images (B, 3, h, w) -> tuple of tensors.
        mean: of the channels in 0..255, in the order of the network.
        std: likewise.
        bgr: the network was trained on BGR.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        bgr: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.bgr = bgr
        for name, values in (('mean', mean), ('std', std)):
            tensor = torch.tensor([float(x) for x in values]).view(-1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, h, w, 3) uint8 RGB -> what the network returns."""
        pixels = images.permute(0, 3, 1, 2).float()
        if self.bgr:
            pixels = pixels.flip(1)
        return self.network((pixels - self.mean) / self.std)


def check_size(size: Sequence[int], patch: int) -> Grid:
    """Return (height, width) of an input if it consists of whole patches.

    Raises:
        InputError: it does not.
    """
    height, width = (int(side) for side in size)
    if height < patch or width < patch or height % patch or width % patch:
        nearest = [max(patch, round(side / patch) * patch) for side in (height, width)]
        raise InputError(
            f'--size {height} {width}: height and width are whole numbers of {patch}-pixel '
            f'patches; near: --size {nearest[0]} {nearest[1]}'
        )
    return height, width
