"""What a view type provides, and the values it works with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from saip.structures import Views
from saip.views.crop_draw import CropDraw
from saip.views.random import uniforms
from saip.views.sizes import Size

if TYPE_CHECKING:
    from saip.views.ops import RenderOps
    from saip.views.recipe import Recipe

STREAMS = {
    'anchor': {'crop 0': 'anchor'},
    'augmented': {'crop 0': 'augmented'},
    'extra_local_crop': {'crop 0': 'region'},
    'multires': {'scales': 'multires'},
    'masked': {'scale': 'masked scale', 'mask': 'mask'},
    'scene': {use: use for use in ('partners', 'background', 'pool')} | {'layout': 'scene'},
}
"""Random streams of the shipped view names; any other name is a prefix of its own streams."""


def stream(name: str, use: str) -> str:
    """Name of the random stream of a view for one use.

    Two views never share one, and the numbers of the shipped views are the same in every version.
    """
    if name == 'local_crops' and use.startswith('crop '):
        return f'local_{use.removeprefix("crop ")}'
    return STREAMS.get(name, {}).get(use, f'{name}/{use}')


@dataclass(frozen=True)
class Frame:
    """What all views of a recipe refer to.

    Attributes:
        size: (height, width) of the anchor in pixels.
        patch_size: side of the encoder's patches in pixels.
    """

    size: Size
    patch_size: int


@dataclass(frozen=True)
class Clock:
    """What keys the draws of one micro-batch on one process."""

    seed: int
    epoch: int
    step: int
    rank: int = 0
    world_size: int = 1

    def of_images(self, stream: str, keys: np.ndarray, n: int) -> np.ndarray:
        """(B, n) uniform numbers, keyed by image and epoch."""
        return uniforms(self.seed, stream, keys, self.epoch, n)

    def of_step(self, stream: str, n: int) -> np.ndarray:
        """(n,) uniform numbers, keyed by the step and the same on every process."""
        return uniforms(self.seed, stream, np.array([self.step]), 0, n)[0]


@dataclass(frozen=True)
class HostBatch:
    """What draws are made from, on the host.

    Attributes:
        keys: (B,) stable key of each image.
        sizes: (B, 2) original height and width of each image.
        pool_sizes: (P, 2) original sizes of the images of the pool; None without one.
        keypoints: (B, 17, 3) x, y and score of COCO's joints in pixels of the original image, NaN
            for an image without; None if the data set has none.
    """

    keys: np.ndarray
    sizes: np.ndarray
    pool_sizes: np.ndarray | None = None
    keypoints: np.ndarray | None = None


@dataclass(frozen=True)
class Draw:
    """All random decisions of one view type for a batch.

    Attributes:
        crops: what is cut from images, by a name of the type's own.
        values: everything else: plain numbers, tuples of them, arrays, and dicts of these.
    """

    crops: dict[str, CropDraw] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)


class ViewType(ABC):
    """One entry of a view recipe: its options, checks, draws and making.

    Attributes:
        name: of the entry.
        frame: what all views of the recipe refer to.
        depends_on: entries whose draws or images this one builds on.
        rows: images of each of its views per image of the batch.
        conditioned: whether it gives its images a condition.

    Args:
        name: of the entry.
        frame: what all views of the recipe refer to.
    """

    depends_on: tuple[str, ...] = ()
    rows: int = 1
    conditioned: bool = False

    def __init__(self, name: str, frame: Frame) -> None:
        self.name = name
        self.frame = frame

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the views that it makes."""
        return (self.name,)

    def check(self, recipe: Recipe) -> None:  # noqa: B027
        """Compare the options with the recipe's other entries, before the first draw.

        Called after the ``check`` of every entry of ``depends_on``.

        Raises:
            InputError: they do not fit together, with the reason.
        """

    @abstractmethod
    def possible_sizes(self) -> Sequence[tuple[Size, ...]]:
        """Every combination of sizes that its views can have, one size per name."""

    @abstractmethod
    def sizes(self, draw: Draw) -> tuple[Size, ...]:
        """Sizes of its views in one draw, one per name."""

    @abstractmethod
    def draw(self, clock: Clock, batch: HostBatch, drawn: Mapping[str, Draw]) -> Draw:
        """Draw for a batch.

        Args:
            clock: what keys the numbers.
            batch: the images' keys and sizes.
            drawn: draws of the entries that this one depends on, and maybe of others.
        """

    @abstractmethod
    def make(self, draw: Draw, cuts: Mapping[str, Any], made: Views, ops: RenderOps) -> Views:
        """Make the views of a draw, not yet normalized.

        Args:
            draw: of this entry.
            cuts: the images of ``draw.crops``, cut and colored, by the same names.
            made: views of the entries that this one depends on, and maybe of others.
            ops: operations on images, which are opaque to a view type.
        """
