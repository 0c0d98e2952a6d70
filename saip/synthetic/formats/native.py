"""What makes a function that writes a set a command: sizes, seeds, processes, finished folders."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from saip.datasets.parallel import parallel_map
from saip.errors import InputError

from ..folder import CONTACT_SHEET, write_folder
from .base import VERSION, encode_png
from .sheet import Card, contact_sheet

Item = TypeVar('Item')
Result = TypeVar('Result')
Spec = TypeVar('Spec')


@dataclass(frozen=True)
class Splits:
    """How many images a set has in every split.

    Attributes:
        size: height and width of every image; of crops, the least and the greatest height.
    """

    train: int
    val: int
    test: int
    size: tuple[int, int]

    def items(self) -> list[tuple[str, int]]:
        """Names and numbers of images of the splits."""
        return [('train', self.train), ('val', self.val), ('test', self.test)]


@dataclass(frozen=True)
class Job(Generic[Spec]):
    """A set that is being written.

    Attributes:
        root: folder to write into.
        spec: what the size that was asked for means for this set.
        seed: another seed gives other people and images.
        workers: processes that draw.
        name: of the format.
    """

    root: Path
    spec: Spec
    seed: int
    workers: int
    name: str

    def map(
        self, draw: Callable[[Job[Spec], Item], Result], items: Sequence[Item]
    ) -> list[Result]:
        """Draw all items, each by ``draw(job, item)``, a function of a module."""
        label = f'images of {self.name} drawn'
        return parallel_map(functools.partial(draw, self), items, self.workers, label)


class Writer(Protocol):
    """Makes a folder; tells whether it had to."""

    def __call__(
        self, out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
    ) -> bool:
        """Make the folder ``out``."""


Fill = Callable[[Job[Any]], Sequence[Card]]


def native(name: str, sizes: Mapping[str, Any]) -> Callable[[Fill], Writer]:
    """Turn a function that fills a folder with a set into a writer of whole folders.

    The writer takes ``(out, size, seed, workers)``, makes ``out`` at once, complete, or not at
    all, leaves the same finished set as it is, and returns whether it wrote. It raises an
    ``InputError`` for an unknown size, a negative seed, and a folder that holds something else.

    Args:
        name: of the format.
        sizes: what the sizes mean for this set.
    """

    def decorate(fill: Fill) -> Writer:
        @functools.wraps(fill)
        def write(
            out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
        ) -> bool:
            if size not in sizes:
                raise InputError(f'no size {size!r} of {name}: take one of {", ".join(sizes)}')
            if seed < 0:
                raise InputError(f'the seed of {name} must be at least 0, not {seed}')

            def whole(root: Path) -> None:
                cards = fill(Job(root, sizes[size], seed, workers, name))
                sheet = contact_sheet(root, cards)
                (root / CONTACT_SHEET).write_bytes(encode_png(sheet[..., ::-1]))

            stamp = {'format': name, 'version': VERSION, 'size': size, 'seed': seed}
            return write_folder(out, stamp, whole)

        return write

    return decorate
