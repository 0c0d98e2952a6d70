"""ADE20K: scenes with 150 classes of things and surroundings."""

from __future__ import annotations

from pathlib import Path

from mmseg.datasets import ADE20KDataset

from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.readable import StandIns
from saip.errors import MissingFileError
from saip.registry import DATASETS

LAYOUT = (
    'ADE20K is the folder ADEChallengeData2016 with images/{training,validation}/*.jpg and '
    'annotations/{training,validation}/*.png, a map of the labels 0 to 150 for every image'
)


@DATASETS.register_module()
class ADE20K(StandIns, ADE20KDataset):
    """mmsegmentation's ADE20K data set, which looks at its files before it begins.

    Label 0, what belongs to none of the 150 classes, is ignored; label n becomes class n - 1. The
    options are the parent's: ``data_prefix`` has the folders ``img_path`` of the images and
    ``seg_map_path`` of the label maps.

    Raises:
        FileNotFoundError: a folder or a label map is missing.
        DataError: the folder holds no image.
    """

    def load_data_list(self) -> list[dict]:
        """Return a record per image of the folder, by name."""
        folder = Path(self.data_prefix['img_path'])
        if not folder.is_dir():
            raise MissingFileError(f'{folder}: no such folder. {LAYOUT}')
        records: list[dict] = super().load_data_list()
        if not records:
            raise DataError(f'{folder}: no {self.img_suffix} in it. {LAYOUT}')
        require_files((record['seg_map_path'] for record in records), str(folder), LAYOUT)
        return records
