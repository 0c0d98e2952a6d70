"""What all formats share: sizes, seeds, processes, folders that appear complete, files."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from saip.datasets.parallel import parallel_map
from saip.errors import InputError

from ..folder import write_folder
from ..rendered_crop import encode_jpeg
from ..sheet import Card, encode_png, save_sheet

SIZES = ('tiny', 'small')
# Raise it whenever the same arguments give other files: a finished set is recognized by it.
VERSION = 1
# Numbers of scenes and identities of different sets lie this far apart, those of splits less.
APART = 100_000
_SPLITS = {'train': 0, 'val': APART // 2, 'test': APART // 4}

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

    def counts(self) -> dict[str, int]:
        """Numbers of images of the splits that have some."""
        counts = {'train': self.train, 'val': self.val, 'test': self.test}
        return {split: count for split, count in counts.items() if count}


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

    def save(self, path: str, image: np.ndarray, quality: int = 0) -> None:
        """Write an image, and its folder if need be.

        Args:
            path: below the root.
            image: (h, w, 3) uint8 RGB, or (h, w) uint8.
            quality: of JPEG; a path that ends with ``.png`` is written without losses.
        """
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        png = path.endswith('.png')
        file.write_bytes(encode_png(image) if png else encode_jpeg(image, quality))

    def save_json(self, path: str, document: Any) -> None:
        """Write a JSON file, and its folder if need be; the path is below the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document), encoding='utf-8')


def draw_splits(
    job: Job[Splits], draw: Callable[[Job[Splits], tuple[str, int]], Result], first: int
) -> Iterator[tuple[str, list[Result]]]:
    """Draw split by split; ``draw(job, (split, number))`` makes an image.

    Args:
        job: what is written.
        draw: a function of a module.
        first: number of the set's first image; those of another split lie apart.
    """
    for split, count in job.spec.counts().items():
        start = first + _SPLITS[split]
        yield split, job.map(draw, [(split, start + n) for n in range(count)])


class WriteFormat(Protocol):
    """Makes a folder; tells whether it had to."""

    def __call__(
        self, out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
    ) -> bool:
        """Make the folder ``out``."""


def native(
    name: str, sizes: Mapping[str, Spec]
) -> Callable[[Callable[[Job[Spec]], list[Card]]], WriteFormat]:
    """Turn a function that fills a folder with a set into a writer of whole folders.

    The writer takes ``(out, size, seed, workers)``, makes ``out`` at once, complete, or not at
    all, leaves the same finished set as it is, and returns whether it wrote. It raises an
    ``InputError`` for an unknown size, a negative seed, and a folder that holds something else.

    Args:
        name: of the format.
        sizes: what the sizes mean for this set.
    """

    def decorate(fill: Callable[[Job[Spec]], list[Card]]) -> WriteFormat:
        @functools.wraps(fill)
        def write(
            out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
        ) -> bool:
            if size not in sizes:
                raise InputError(f'no size {size!r} of {name}: take one of {", ".join(sizes)}')
            if seed < 0:
                raise InputError(f'the seed of {name} must be at least 0, not {seed}')
            stamp = {'format': name, 'version': VERSION, 'size': size, 'seed': seed}
            return write_folder(
                out,
                stamp,
                lambda root: save_sheet(
                    root, fill(Job(root, sizes[size], seed, workers, name))
                ),
            )

        return write

    return decorate
