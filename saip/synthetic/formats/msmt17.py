"""MSMT17 (V1): identities in folders, and four lists."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saip.datasets.parallel import parallel_map

from ..rendered_crop import plan_crop, render_crop
from .base import load_rgb, save_jpeg, write_native
from .contact_sheet import caption, grid

# Far from the identities of the other sets of single crops.
_IDENTITIES = 40_000_000
_HOURS = ('morning', 'noon', 'afternoon')


@dataclass(frozen=True)
class Size:
    """Numbers of a set; everybody is seen by all cameras, ``shots`` times by each.

    Attributes:
        train: identities of training and validation, which share them.
        test: identities of query and gallery.
    """

    train: int
    test: int
    cameras: int
    shots: int
    height: int = 128
    width: int = 64


SIZES = {'tiny': Size(6, 4, 3, 2), 'small': Size(120, 40, 5, 3)}


@dataclass(frozen=True)
class MsmtImage:
    """One file: its list, its path below ``train`` or ``test``, and what is drawn."""

    list: str
    split: str
    path: str
    pid: int
    key: tuple[int, int, int]


def write_msmt17(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``train``, ``test`` and the lists of training, validation, query and gallery."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        images = list_images(spec)
        draw = functools.partial(_draw, root=root, seed=seed, size=(spec.height, spec.width))
        parallel_map(draw, images, workers, 'images of MSMT17 drawn')
        for name in ('train', 'val', 'query', 'gallery'):
            lines = [f'{p.path} {p.pid}\n' for p in images if p.list == name]
            (root / f'list_{name}.txt').write_text(''.join(lines), encoding='utf-8')
        return _sheet(root)

    return write_native(out, 'msmt17', SIZES, size, seed, fill)


def list_images(spec: Size) -> list[MsmtImage]:
    """Return all images; the last of an identity's training images validates."""
    images = []
    for split, count, first in (('train', spec.train, 0), ('test', spec.test, spec.train)):
        for pid in range(count):
            views = [(c, s) for s in range(spec.shots) for c in range(1, spec.cameras + 1)]
            for number, (camera, shot) in enumerate(views):
                hour = _HOURS[shot % len(_HOURS)]
                frame = 100 + 40 * shot + 7 * camera
                name = f'{pid:04d}_{number:03d}_{camera:02d}_0303{hour}_{frame:04d}_0.jpg'
                if split == 'train':
                    purpose = 'val' if number == len(views) - 1 else 'train'
                else:
                    purpose = 'gallery' if shot else 'query'
                key = (_IDENTITIES + first + pid, camera, shot)
                images.append(MsmtImage(purpose, split, f'{pid:04d}/{name}', pid, key))
    return images


def _draw(image: MsmtImage, root: Path, seed: int, size: tuple[int, int]) -> None:
    shot = plan_crop(seed, *image.key)
    path = root / image.split / image.path
    save_jpeg(path, render_crop(shot, size), shot.camera.quality)


def _sheet(root: Path) -> np.ndarray:
    cells = []
    for name, folder in (('train', 'train'), ('query', 'test'), ('gallery', 'test')):
        lines = (root / f'list_{name}.txt').read_text(encoding='utf-8').splitlines()
        for line in lines[:8]:
            path, pid = line.split(' ')
            words = [name, f'id {pid}', f'camera {path.split("_")[2]}']
            cells.append(caption(load_rgb(root / folder / path), words, 60))
    return grid(cells, 8)
