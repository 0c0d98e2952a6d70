"""Which other images of the micro-batch a scene is made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saip.views.random import integers

if TYPE_CHECKING:
    from saip.views.base import Clock

STRIDES = (1, 2, 4, 8, 24, 48, 96, 192)
"""Each a multiple of the one before; together divisible by every usual number of processes."""

FEWEST_CHOICES = 8
"""Images to choose from that a stride above 8 must leave."""


@dataclass(frozen=True)
class Partners:
    """(B,) positions in the local batch: the scene's background and its distractor."""

    background: np.ndarray
    other: np.ndarray


def draw_partners(keys: np.ndarray, clock: Clock, stream: str) -> Partners:
    """Draw two partners per image, different ones where the batch allows it.

    The sampler deals images out in turn, so image i of a process is number
    ``i * world_size + rank`` of the global batch. Partners lie a multiple of a fixed stride
    away from it, modulo the global batch. If ``world_size`` divides the stride they are on the
    same process, and one process with the whole batch picks the very same images; otherwise
    any other image of the local batch is taken. Batches are shuffled, so it does not matter
    which places the choice leaves. An image alone is its own partner.

    Args:
        keys: (B,) of the images, the same B on every process.
        clock: seed and epoch key the draw; rank and number of processes place the images.
        stream: name of the random stream.
    """
    count, world_size = len(keys), clock.world_size
    own = np.arange(count)
    if count == 1:
        return Partners(own, own)
    stride = partner_stride(count * world_size)
    if stride % world_size:
        stride = world_size
    choices = (count * world_size - 1) // stride
    numbers = clock.of_images(stream, keys, 2)
    first = integers(numbers[:, 0], choices)
    second = (first + 1 + integers(numbers[:, 1], max(1, choices - 1))) % choices
    place = own * world_size + clock.rank

    def local(shift: np.ndarray) -> np.ndarray:
        return (place + stride * (shift + 1)) % (count * world_size) // world_size

    return Partners(local(first), local(second))


def partner_stride(batch: int) -> int:
    """Return the distance between partners in a global batch of more than one image.

    Up to 8 the largest that is at most half the batch, above it the largest that leaves enough
    images to choose from.
    """
    fitting = [s for s in STRIDES if (2 if s <= 8 else FEWEST_CHOICES) * s <= batch]
    return fitting[-1]
