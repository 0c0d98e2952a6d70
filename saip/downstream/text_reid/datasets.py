"""CUHK-PEDES and ICFG-PEDES as they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saip.datasets.crops import DataError
from saip.datasets.files import require_files
from saip.datasets.readable import StandIns
from saip.downstream.base_dataset import BaseDataset
from saip.downstream.text_reid.annotations import (
    DescribedImage,
    check_gaps,
    check_split,
    read_descriptions,
)
from saip.errors import MissingFileError
from saip.registry import DATASETS


class DescribedPeople(StandIns, BaseDataset):
    """Images of people with captions; what the data sets here share.

    In training a record is one caption: ``img_path``, ``caption``, ``pid`` and ``gt_label``, which
    counts the identities from 0. In validation and test a record is one image with ``captions``, a
    list; ``gt_label`` is ``pid``. ``metainfo['classes']`` are the training identities. The file is
    checked, and every image of the split is looked for, at the start.

    Args:
        data_root: folder of the data set.
        split: ``train``, ``val`` or ``test``.
        ann_file: annotation file in ``data_root``; None takes one of ``FILES``.
        data_prefix: folder of the images in ``data_root``.
        kwargs: other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``.

    Raises:
        MissingFileError: the annotation file, a folder or an image is missing.
        DataError: see :func:`saip.downstream.text_reid.annotations.read_descriptions`; also
            training identities with a gap, or a split without an image.
        InputError: there is no such split.
    """

    FILES: tuple[str, ...]
    FIRST_IDENTITY: int
    LAYOUT: str
    NO_SUCH_IMAGES: str

    def __init__(
        self,
        data_root: str,
        split: str,
        ann_file: str | None = None,
        data_prefix: str = 'imgs',
        **kwargs: Any,
    ) -> None:
        check_split(split)
        self.split = split
        self.train_captions: list[str] = []
        super().__init__(
            ann_file=ann_file or self._find(data_root),
            data_root=data_root,
            data_prefix=data_prefix,
            test_mode=split != 'train',
            **kwargs,
        )

    def _find(self, data_root: str) -> str:
        there = [name for name in self.FILES if Path(data_root, name).is_file()]
        if not there:
            raise MissingFileError(
                f'{data_root}: no annotation file {" or ".join(self.FILES)}. {self.LAYOUT}'
            )
        return there[0]

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return a record per caption (training) or per image."""
        found = read_descriptions(self.ann_file, self.LAYOUT)
        images = found[self.split]
        if not images:
            raise DataError(
                f'{self.ann_file}: no image of split {self.split}. {self.NO_SUCH_IMAGES}'
            )
        check_gaps(found['train'], self.FIRST_IDENTITY, self.ann_file)
        folder = Path(self.img_prefix)
        require_files((str(folder / i.path) for i in images), self.ann_file, self.LAYOUT)
        self.train_captions = [text for image in found['train'] for text in image.captions]
        if self.split != 'train':
            return [self._record(image, captions=list(image.captions)) for image in images]
        identities = sorted({image.identity for image in images})
        self._metainfo['classes'] = tuple(map(str, identities))
        return [
            {**self._record(image, caption=text), 'gt_label': image.identity - identities[0]}
            for image in images
            for text in image.captions
        ]

    def _record(self, image: DescribedImage, **captions: Any) -> dict[str, Any]:
        path = str(Path(self.img_prefix, image.path))
        return dict(img_path=path, pid=image.identity, gt_label=image.identity, **captions)

    def training_captions(self) -> list[str]:
        """All captions of the training split, whatever the split of this data set."""
        return self.train_captions


@DATASETS.register_module()
class CUHKPEDES(DescribedPeople):
    """CUHK-PEDES (Li et al., 2017): 40,206 images of 13,003 people, two captions of each image.

    ``data_root`` has ``reid_raw.json`` and the images in ``imgs``. Identities count from 1; 11,003
    are in training. Arguments are those of :class:`DescribedPeople`.
    """

    FILES = ('reid_raw.json',)
    FIRST_IDENTITY = 1
    LAYOUT = (
        'CUHK-PEDES is a folder with reid_raw.json, and imgs/ with a folder for each source'
    )
    NO_SUCH_IMAGES = (
        'The published file has 34,054 images in train, 3,078 in val, 3,074 in test'
    )


@DATASETS.register_module()
class ICFGPEDES(DescribedPeople):
    """ICFG-PEDES (Ding et al., 2021): 54,522 images of 4,102 people, one caption of each.

    ``data_root`` has ``ICFG-PEDES.json`` (or ``ICFG_PEDES.json``) and the images in ``imgs``.
    Identities count from 0; 3,102 are in training. The set has no validation split. Arguments are
    those of :class:`DescribedPeople`.
    """

    FILES = ('ICFG-PEDES.json', 'ICFG_PEDES.json')
    FIRST_IDENTITY = 0
    LAYOUT = 'ICFG-PEDES is a folder with ICFG-PEDES.json, and imgs/ with train/ and test/'
    NO_SUCH_IMAGES = 'The published file has train and test alone: take split=test'
