"""LIP: crops of persons and part maps with 20 labels."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from saip.datasets.parallel import parallel_map

from ..scene.parts import LIP_LABELS, lip_table
from .base import APART, encode_png, load_image, load_rgb, save_jpeg, write_native
from .contact_sheet import caption, enlarged, grid, palette
from .portraits import draw_portrait, spread_identities

_FIRST = 3 * APART


@dataclass(frozen=True)
class Size:
    """Images per split and their heights in pixels."""

    train: int
    val: int
    height: tuple[int, int]


SIZES = {'tiny': Size(12, 8, (96, 128)), 'small': Size(400, 100, (160, 220))}


def write_lip(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``{train,val}_images``, ``{train,val}_segmentations`` and lists of their stems."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        for number, (split, count) in enumerate((('train', spec.train), ('val', spec.val))):
            for folder in (f'{split}_images', f'{split}_segmentations'):
                (root / folder).mkdir()
            people = spread_identities(count, 1, _FIRST + number * APART // 2)
            draw = functools.partial(
                _draw, root=root, split=split, seed=seed, height=spec.height
            )
            stems = parallel_map(draw, people, workers, f'{split} images of LIP drawn')
            text = ''.join(f'{stem}\n' for stem in stems)
            (root / f'{split}_id.txt').write_text(text, encoding='utf-8')
        return _sheet(root)

    return write_native(out, 'lip', SIZES, size, seed, fill)


def _draw(
    person: tuple[int, int], root: Path, split: str, seed: int, height: tuple[int, int]
) -> str:
    identity, shot = person
    portrait = draw_portrait(seed, identity, shot, height, lively=True)
    stem = f'{identity}_{500_000 + identity}'
    image = portrait.rendered.image
    save_jpeg(root / f'{split}_images' / f'{stem}.jpg', image, portrait.quality)
    labels = portrait.rendered.parts(portrait.number, lip_table(portrait.actor.character))
    (root / f'{split}_segmentations' / f'{stem}.png').write_bytes(encode_png(labels))
    return stem


def _sheet(root: Path) -> np.ndarray:
    colors, cells = palette(len(LIP_LABELS)), []
    for split in ('train', 'val'):
        stems = (root / f'{split}_id.txt').read_text(encoding='utf-8').split()
        for stem in stems[:8]:
            image = load_rgb(root / f'{split}_images' / f'{stem}.jpg')
            path = root / f'{split}_segmentations' / f'{stem}.png'
            labels = load_image(path, cv2.IMREAD_UNCHANGED)
            both = enlarged(np.concatenate([image, colors[labels]], axis=1), 2)
            cells.append(_with_legend(both, labels, colors))
    return grid(cells, 4)


def _with_legend(image: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    present = [number for number in range(1, len(LIP_LABELS)) if (labels == number).any()]
    cell = caption(image, [f'   {LIP_LABELS[number]}' for number in present], 100)
    for row, number in enumerate(present):
        y, x = 4 + 11 * row, image.shape[1] + 3
        cell[y : y + 8, x : x + 8] = colors[number]
    return cell
