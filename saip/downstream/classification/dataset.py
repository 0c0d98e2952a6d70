"""ImageNet-1k, or any set in its layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saip.datasets.crops import DataError
from saip.datasets.labeled import class_folders
from saip.datasets.readable import StandIns
from saip.downstream.base_dataset import BaseDataset
from saip.errors import InputError, MissingFileError
from saip.registry import DATASETS

SPLITS = ('train', 'val')
LAYOUT = 'ImageNet is a folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG'


@DATASETS.register_module()
class ImageNet(StandIns, BaseDataset):
    """Images of which each lies in the folder of its class.

    A record holds ``img_path`` and ``gt_label``, the place of the class among the sorted names of
    the folders, which are ``metainfo['classes']``.

    Args:
        data_root: folder of the data set.
        split: ``train`` or ``val``.
        kwargs: other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``;
            ``test_mode`` is on for ``val`` unless it is given.

    Raises:
        FileNotFoundError: there is no such folder, or none with images in it.
        DataError: train and val have different classes, or images of val lie in no class.
        ValueError: there is no such split.
    """

    def __init__(self, data_root: str, split: str, **kwargs: Any) -> None:
        if split not in SPLITS:
            raise InputError(f'split={split!r}: choose one of {", ".join(SPLITS)}')
        self.split = split
        kwargs.setdefault('test_mode', split == 'val')
        super().__init__(ann_file='', data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return a record per image, by classes."""
        root = Path(self.data_root)
        names = {split: _folders(root / split) for split in SPLITS}
        differing = sorted(names['train'] ^ names['val'])
        if differing:
            raise DataError(
                f'{root}: train/ and val/ have different classes, such as {differing[0]}. {LAYOUT}'
            )
        by_class = class_folders(root / self.split)
        empty = sorted(names[self.split] - set(by_class))
        if empty:
            raise DataError(f'{root / self.split / empty[0]}: holds no image. {LAYOUT}')
        self._metainfo['classes'] = tuple(by_class)
        return [
            dict(img_path=path, gt_label=label)
            for label, paths in enumerate(by_class.values())
            for path in paths
        ]


def _folders(root: Path) -> set[str]:
    """Names of class folders."""
    if not root.is_dir():
        raise MissingFileError(f'{root}: no such folder. {LAYOUT}')
    found = {path.name for path in root.iterdir() if path.is_dir()}
    if not found:
        raise DataError(
            f'{root}: holds no class folders; sort its images into one per class. {LAYOUT}'
        )
    return found
