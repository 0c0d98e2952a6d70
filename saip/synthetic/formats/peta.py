"""PETA: crops, ``PETA.mat`` with 105 attributes, and the zero-shot split of the PAR baseline."""

from __future__ import annotations

import functools
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saip.datasets.parallel import parallel_map

from ..scene.peta import PETA_ATTRIBUTES, PETA_EVALUATED, peta_attributes
from .base import APART, encode_png, load_rgb, write_native
from .contact_sheet import caption, enlarged, grid
from .matfile import cell, save_mat
from .portraits import draw_portrait, shuffled, spread_identities

_FIRST = 2 * APART
_SHOTS = 2
# The order in which the baseline groups the evaluated attributes: numbers of PETA.mat.
GROUPED = (
    *(10, 18, 19, 30, 15, 7, 9, 11, 14, 21, 26, 29, 32, 33, 34, 6, 8, 12, 25, 27, 31),
    *(13, 23, 24, 28, 4, 5, 17, 20, 22, 0, 1, 2, 3, 16),
)
ZERO_SHOT = 'dataset_zs_run0.pkl'


@dataclass(frozen=True)
class Size:
    """Images, their heights in pixels, and the shares of training and validation."""

    images: int
    height: tuple[int, int]
    shares: tuple[float, float] = (0.6, 0.2)


SIZES = {'tiny': Size(40, (96, 128)), 'small': Size(900, (110, 180))}


class EasyDict(dict):
    """Stands for the class of that name, of which the public split file is made."""


def write_peta(
    out: str | os.PathLike[str], size: str = 'tiny', seed: int = 0, workers: int = 1
) -> bool:
    """Write ``images/*.png``, ``PETA.mat`` and ``dataset_zs_run0.pkl``."""

    def fill(root: Path, spec: Size) -> np.ndarray:
        (root / 'images').mkdir()
        people = spread_identities(spec.images, _SHOTS, _FIRST)
        tasks = [(number + 1, *person) for number, person in enumerate(people)]
        draw = functools.partial(_draw, root=root, seed=seed, height=spec.height)
        rows = parallel_map(draw, tasks, workers, 'images of PETA drawn')
        labels = np.array(rows, np.uint8)
        identities = np.array([identity - _FIRST for identity, _ in people])
        splits = [_random_split(len(people), spec, seed, run) for run in range(5)]
        _save_mat(root / 'PETA.mat', labels, identities, splits)
        split = _zero_shot_split(len(people), spec)
        (root / ZERO_SHOT).write_bytes(_pickled(labels, split))
        return _sheet(root, labels[:12])

    return write_native(out, 'peta', SIZES, size, seed, fill)


def _draw(
    task: tuple[int, int, int], root: Path, seed: int, height: tuple[int, int]
) -> np.ndarray:
    number, identity, shot = task
    portrait = draw_portrait(seed, identity, shot, height)
    png = encode_png(portrait.rendered.image[..., ::-1])
    (root / 'images' / _name(number)).write_bytes(png)
    return peta_attributes(portrait.rendered, portrait.number, portrait.actor)


def _name(number: int) -> str:
    return f'{number:05d}.png'


def _random_split(count: int, spec: Size, seed: int, run: int) -> tuple[np.ndarray, ...]:
    """Indices from 0 of training, validation and test; people may be in several."""
    order = shuffled(count, seed, _FIRST, run)
    first, second = round(spec.shares[0] * count), round(sum(spec.shares) * count)
    return order[:first], order[first:second], order[second:]


def _zero_shot_split(count: int, spec: Size) -> dict[str, np.ndarray]:
    """Indices from 0; nobody is in two splits."""
    people = -(-count // _SHOTS)
    first, second = round(spec.shares[0] * people), round(sum(spec.shares) * people)
    order = np.arange(count)
    person = order // _SHOTS
    return {
        'train': order[person < first],
        'val': order[(person >= first) & (person < second)],
        'trainval': order[person < second],
        'test': order[person >= second],
    }


def _save_mat(
    path: Path,
    labels: np.ndarray,
    identities: np.ndarray,
    splits: list[tuple[np.ndarray, ...]],
) -> None:
    number = np.arange(1, len(labels) + 1)
    source = np.ones_like(number)
    leading = np.stack([number, source, identities + 1, source], axis=1)
    names = ('train_index', 'val_index', 'test_index')
    partition = [
        {name: (part + 1)[:, None] for name, part in zip(names, split, strict=True)}
        for split in splits
    ]
    selected = np.arange(1, len(PETA_EVALUATED) + 1)[:, None]
    content = {
        'data': np.concatenate([leading, labels], axis=1).astype(np.float64),
        'attribute': cell(list(PETA_ATTRIBUTES)),
        'selected_attribute': selected,
        'partion': cell(partition),
    }
    save_mat(path, {'peta': content})


def _pickled(labels: np.ndarray, split: dict[str, np.ndarray]) -> bytes:
    """Return the split file: a pickle of an ``easydict.EasyDict``, as it is published."""
    grouped = labels[:, GROUPED].astype(np.int64)
    document: dict[str, Any] = {
        'description': 'peta',
        'reorder': 'group_order',
        'root': 'images',
        'image_name': [_name(number + 1) for number in range(len(labels))],
        'label': grouped,
        'attr_name': [PETA_EVALUATED[number] for number in GROUPED],
        'partition': EasyDict(split),
        'weight_train': [grouped[split['train']].mean(0).astype(np.float32)],
        'weight_trainval': [grouped[split['trainval']].mean(0).astype(np.float32)],
    }
    # Protocol 2 names classes in plain text, so the name can be that of the other package
    # without needing it.
    data = pickle.dumps(EasyDict(document), protocol=2)
    return data.replace(f'c{__name__}\nEasyDict\n'.encode(), b'ceasydict\nEasyDict\n')


def _sheet(root: Path, labels: np.ndarray) -> np.ndarray:
    cells = []
    for number, row in enumerate(labels):
        image = enlarged(load_rgb(root / 'images' / _name(number + 1)), 2)
        true = [PETA_ATTRIBUTES[n] for n in np.flatnonzero(row)]
        cells.append(caption(image, [_name(number + 1), *true], 150))
    return grid(cells, 6)
