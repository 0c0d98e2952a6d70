"""LIP, Look into Person: single persons with 19 parts and the background."""

from __future__ import annotations

import os
from pathlib import Path

from mmseg.datasets import LIPDataset

from saip.datasets.crops import DataError
from saip.datasets.files import read_text, require_files
from saip.datasets.readable import StandIns
from saip.errors import MissingFileError
from saip.registry import DATASETS

LAYOUT = (
    'LIP is a folder with train_images/*.jpg, train_segmentations/*.png, train_id.txt, and '
    'val_images/*.jpg, val_segmentations/*.png, val_id.txt; the lists hold file names without '
    'their ending, one per line'
)


@DATASETS.register_module()
class LIPParts(StandIns, LIPDataset):
    """mmsegmentation's LIP data set, which looks at its files before it begins.

    The options are the parent's: ``ann_file`` is the list of the names, ``data_prefix`` has the
    folders ``img_path`` of the images and ``seg_map_path`` of the label maps.

    Raises:
        FileNotFoundError: the list, a folder, or a file that the list names is missing.
        DataError: the list is empty, or a line of it is.
    """

    def load_data_list(self) -> list[dict]:
        """Return a record per line of the list."""
        names = _read_names(Path(self.ann_file))
        for prefix, suffix in (
            ('img_path', self.img_suffix),
            ('seg_map_path', self.seg_map_suffix),
        ):
            folder = self.data_prefix[prefix]
            paths = (os.path.join(folder, name + suffix) for name in names)
            require_files(paths, self.ann_file, LAYOUT)
        return super().load_data_list()


def _read_names(path: Path) -> list[str]:
    if not path.is_file():
        raise MissingFileError(f'{path}: no such file. {LAYOUT}')
    names = [line.strip() for line in read_text(path).splitlines()]
    if not names:
        raise DataError(f'{path}: names no image. {LAYOUT}')
    if '' in names:
        raise DataError(f'{path}: line {names.index("") + 1} is empty. {LAYOUT}')
    return names
