"""PA100K: crops in one folder and a MATLAB file with 26 attributes."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saip.datasets.parallel import parallel_map

from ..scene.pa100k import PA100K_ATTRIBUTES, pa100k_attributes
from .base import APART, load_rgb, save_jpeg, write_native
from .contact_sheet import caption, enlarged, grid
from .matfile import cell, save_mat
from .portraits import draw_portrait, spread_identities

_FIRST = 1 * APART
_SHOTS = 2


@dataclass(frozen=True)
class Size:
    """Images per split, which share no identity, and their heights in pixels."""

    train: int
    val: int
    test: int
    height: tuple[int, int]


SIZES = {
    'tiny': Size(24, 8, 12, (96, 128)),
    'small': Size(900, 150, 300, (110, 180)),
}


def write_pa100k(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``data/*.jpg`` and ``annotation.mat``."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        splits = {'train': spec.train, 'val': spec.val, 'test': spec.test}
        tasks, first = [], 0
        for number, count in enumerate(splits.values()):
            people = spread_identities(count, _SHOTS, _FIRST + number * APART // 4)
            tasks += [(first + n + 1, *person) for n, person in enumerate(people)]
            first += count
        draw = functools.partial(_draw, root=root, seed=seed, height=spec.height)
        rows = parallel_map(draw, tasks, workers, 'images of PA100K drawn')
        _save_annotation(root / 'annotation.mat', splits, np.array(rows, np.uint8))
        return _sheet(root, min(12, len(rows)), rows)

    return write_native(out, 'pa100k', SIZES, size, seed, fill)


def _draw(
    task: tuple[int, int, int], root: Path, seed: int, height: tuple[int, int]
) -> np.ndarray:
    number, identity, shot = task
    portrait = draw_portrait(seed, identity, shot, height)
    save_jpeg(root / 'data' / _name(number), portrait.rendered.image, portrait.quality)
    return pa100k_attributes(portrait.rendered, portrait.number, portrait.actor)


def _name(number: int) -> str:
    return f'{number:06d}.jpg'


def _save_annotation(path: Path, splits: dict[str, int], labels: np.ndarray) -> None:
    content: dict[str, np.ndarray] = {'attributes': cell(list(PA100K_ATTRIBUTES))}
    first = 0
    for split, count in splits.items():
        names = [_name(first + n + 1) for n in range(count)]
        content[f'{split}_images_name'] = cell(names)
        content[f'{split}_label'] = labels[first : first + count]
        first += count
    save_mat(path, content)


def _sheet(root: Path, count: int, rows: list[np.ndarray]) -> np.ndarray:
    cells = []
    for number in range(count):
        image = enlarged(load_rgb(root / 'data' / _name(number + 1)), 2)
        true = [
            name for name, is_so in zip(PA100K_ATTRIBUTES, rows[number], strict=True) if is_so
        ]
        cells.append(caption(image, [_name(number + 1), *true], 130))
    return grid(cells, 6)
