"""Images with classes or attributes, in a part to learn from and one to test on."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image
from torch.utils.data import Dataset

from saip.datasets.canvas import decode_image
from saip.datasets.crops import DataError
from saip.datasets.retrieval import read_folder
from saip.datasets.sources import IMAGE_SUFFIXES
from saip.errors import MissingFileError
from saip.registry import DATASETS

Part = Literal['train', 'test']
Size = tuple[int, int]

TEST_SHARE = 0.2
"""Of the images of a class, at least one, where a set has no part to test on."""

SHORT_SIDE = 256 / 224
"""Shorter side of a square's image before its center is cut, in sides of the square."""

MARKET_TRAIN = 'bounding_box_train'
LAYOUTS = (
    'a folder of class folders (CLASS/*.jpg), train/CLASS/*.jpg and val/CLASS/*.jpg as of '
    'ImageNet, PA-100K (annotation.mat, data/*.jpg) or Market-1501 (bounding_box_train/)'
)


@dataclass(frozen=True)
class LabeledSet:
    """Files and what they show.

    Attributes:
        paths: of the images, by part.
        targets: by part, (N,) int64 classes, or (N, A) float32 of 0 and 1 for attributes.
        names: of the classes or attributes.
    """

    paths: Mapping[Part, list[str]]
    targets: Mapping[Part, np.ndarray]
    names: tuple[str, ...]

    @property
    def has_attributes(self) -> bool:
        """Whether an image may show several of the names."""
        return self.targets['train'].ndim == 2


def class_folders(root: str | Path) -> dict[str, list[str]]:
    """Images of each folder in ``root`` that holds any, sorted."""
    found = {}
    for folder in sorted(path for path in Path(root).iterdir() if path.is_dir()):
        files = sorted(str(path) for path in _images_below(folder))
        if files:
            found[folder.name] = files
    return found


def _images_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES)


def tell_of_empty_folders(root: Path, by_class: Mapping[str, list[str]]) -> None:
    """Warn of folders that are no class, since they hold no image."""
    empty = [
        folder.name
        for folder in sorted(root.iterdir())
        if folder.is_dir() and folder.name not in by_class and not folder.name.startswith('.')
    ]
    if empty:
        text = f'{root}: no class without an image: {", ".join(empty[:5])}'
        more = f' and {len(empty) - 5} more' if len(empty) > 5 else ''
        print_log(f'{text}{more}', 'current', logging.WARNING)


def has_classes(root: str | Path) -> bool:
    """Whether a folder has at least two class folders; not all of its files are looked at."""
    root = Path(root)
    if not root.is_dir():
        return False
    filled = (x for x in root.iterdir() if x.is_dir() and next(_images_below(x), None))
    return len(list(islice(filled, 2))) == 2


def read_classes(root: str | Path) -> LabeledSet:
    """Read a folder of class folders, ImageNet's layout, or Market-1501's training identities.

    Where there is no part to test on, a fifth of each class is one, spread evenly over its sorted
    files.

    Raises:
        FileNotFoundError: there is no such folder, or no layout that is known.
        DataError: there are fewer than two classes, a class has a single image, or train and val
            have different classes.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise MissingFileError(f'{root}: no such folder')
    if (root / MARKET_TRAIN).is_dir():
        by_class: dict[str, list[str]] = {}
        for record in read_folder(root / MARKET_TRAIN, is_query=False):
            by_class.setdefault(f'{record["pid"]:04d}', []).append(record['img_path'])
        return _split(by_class, root)
    parts = [root / name for name in ('train', 'val')]
    if all(part.is_dir() for part in parts):
        train, test = (class_folders(part) for part in parts)
        _check_classes(train, root / 'train')
        tell_of_empty_folders(parts[0], train)
        differing = sorted(set(train) ^ set(test))
        if differing:
            raise DataError(
                f'{root}: train/ and val/ have different classes, such as {differing[0]}; the '
                'images of val have to lie in class folders, too'
            )
        return _joined(train, test)
    found = class_folders(root)
    tell_of_empty_folders(root, found)
    return _split(found, root)


def _check_classes(by_class: Mapping[str, list[str]], root: Path) -> None:
    if len(by_class) < 2:
        count = f'{len(by_class)} folder{"s" if not by_class else ""} with images'
        alone = next((name for name in ('train', 'val') if name in by_class), None)
        hint = '' if alone is None else f'; {alone}/ alone is evaluated as {root / alone}'
        raise MissingFileError(f'{root}: {count}; labels are needed here: {LAYOUTS}{hint}')


def _split(by_class: Mapping[str, list[str]], root: Path) -> LabeledSet:
    """Take a fifth of each class for the test."""
    _check_classes(by_class, root)
    train, test = {}, {}
    for name, files in by_class.items():
        if len(files) < 2:
            raise DataError(
                f'{root}: class {name} has a single image ({files[0]}), but one to learn from and '
                'one to test on are needed; add images or take the class out'
            )
        count = max(1, round(TEST_SHARE * len(files)))
        chosen = {int((i + 0.5) * len(files) / count) for i in range(count)}
        test[name] = [file for i, file in enumerate(files) if i in chosen]
        train[name] = [file for i, file in enumerate(files) if i not in chosen]
    return _joined(train, test)


def _joined(train: Mapping[str, list[str]], test: Mapping[str, list[str]]) -> LabeledSet:
    names = tuple(sorted(train))
    paths: dict[Part, list[str]] = {}
    targets: dict[Part, np.ndarray] = {}
    parts: tuple[tuple[Part, Mapping[str, list[str]]], ...] = (('train', train), ('test', test))
    for part, by_class in parts:
        paths[part] = [file for name in names for file in by_class[name]]
        lengths = [len(by_class[name]) for name in names]
        targets[part] = np.repeat(np.arange(len(names)), lengths)
    return LabeledSet(paths, targets, names)


def resize_whole(image: Image.Image, size: Size) -> Image.Image:
    """Resize an image to the size at which it is tested.

    For squares its shorter side becomes 256/224 of the side, and the center is cut; for others,
    whose crops are persons, the whole image is squeezed. Bicubic, antialiased.
    """
    height, width = size
    if height != width:
        return image.resize((width, height), Image.Resampling.BICUBIC)
    scale = min(image.size) / (SHORT_SIDE * height)  # source pixels of one of the result
    box_w, box_h = width * scale, height * scale
    left, top = (image.width - box_w) / 2, (image.height - box_h) / 2
    box = (left, top, left + box_w, top + box_h)
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def random_crop(image: Image.Image, size: Size, rng: np.random.Generator) -> Image.Image:
    """Cut a random part and mirror half of them.

    8 to 100 % of the area for squares, 80 to 100 % for persons, whose crops are tight; 3/4 to 4/3
    of the shape of the result. After ten parts that do not fit the whole image is taken.
    """
    height, width = size
    smallest = 0.08 if height == width else 0.8
    box = (0.0, 0.0, float(image.width), float(image.height))
    for _ in range(10):
        area = rng.uniform(smallest, 1) * image.width * image.height
        # The image's own shape, not the result's: persons are squeezed, and stay so.
        shape = width / height if height == width else image.width / image.height
        aspect = shape * math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        cut_w, cut_h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if cut_w <= image.width and cut_h <= image.height:
            left = rng.uniform(0, image.width - cut_w)
            top = rng.uniform(0, image.height - cut_h)
            box = (left, top, left + cut_w, top + cut_h)
            break
    out = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return out.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else out


class LabeledImages(Dataset):
    """One part of a labeled set: ``image`` (3, h, w) uint8, ``target`` and ``index``.

    Args:
        labeled: the set.
        part: ``train`` or ``test``.
        size: (h, w) of the images.
        augment: cut and mirror at random, anew in every epoch; see :meth:`set_epoch`.
        seed: of the random parts, which depend on it, the epoch and the image alone.
    """

    def __init__(
        self,
        labeled: LabeledSet,
        part: Part,
        size: Size,
        augment: bool = False,
        seed: int = 0,
    ) -> None:
        self.paths = labeled.paths[part]
        self.targets = labeled.targets[part]
        self.size = (int(size[0]), int(size[1]))
        self.augment = augment
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next images are for; before worker processes start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = Image.fromarray(decode_image(self.paths[index]))
        if self.augment:
            rng = np.random.default_rng((self.seed, self.epoch, index))
            resized = random_crop(image, self.size, rng)
        else:
            resized = resize_whole(image, self.size)
        return {
            'image': torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous(),
            'target': torch.as_tensor(self.targets[index]),
            'index': torch.tensor(index),
        }


@DATASETS.register_module()
class LabeledParts(BaseDataset):
    """Both parts of a set of classes, for the validation of a pretraining by ``saip.KNNMetric``.

    A sample is a dict of ``image`` (3, h, w) uint8 RGB and int64 tensors ``target``, ``is_test``
    (1 or 0) and ``index``; what is learned from comes first.

    Args:
        data_root: see :func:`read_classes`.
        size: (h, w) of the samples.
        limit: images of the part to learn from, evenly spread; None takes all.
        lazy_init: do not read the folders before they are needed.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: its classes cannot be used.
    """

    def __init__(
        self,
        data_root: str,
        size: Sequence[int] = (256, 128),
        limit: int | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.limit = limit
        super().__init__(data_root=data_root, test_mode=True, lazy_init=lazy_init)

    def load_data_list(self) -> list[dict]:
        """Return a record per image."""
        labeled = read_classes(self.data_root)
        self._metainfo['classes'] = labeled.names
        records = []
        parts: tuple[Part, ...] = ('train', 'test')
        for is_test, part in enumerate(parts):
            pairs = list(zip(labeled.paths[part], labeled.targets[part].tolist(), strict=True))
            if part == 'train' and self.limit is not None and self.limit < len(pairs):
                chosen = np.linspace(0, len(pairs) - 1, self.limit).astype(int)
                pairs = [pairs[int(i)] for i in chosen]
            records += [
                dict(img_path=path, target=target, is_test=is_test) for path, target in pairs
            ]
        return records

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Read one sample."""
        record = self.get_data_info(idx)
        resized = resize_whole(Image.fromarray(decode_image(record['img_path'])), self.size)
        return {
            'image': torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous(),
            'target': torch.tensor(record['target']),
            'is_test': torch.tensor(record['is_test']),
            'index': torch.tensor(record['sample_idx']),
        }
