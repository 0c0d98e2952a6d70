"""Images of persons with attributes: PA-100K and the zero-shot split of PETA."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from saip.datasets.files import require_files
from saip.datasets.readable import StandIns
from saip.downstream.attributes.annotations import (
    PA100K_LAYOUT,
    PETA_LAYOUT,
    Annotations,
    read_attribute_json,
    read_pa100k,
)
from saip.downstream.base_dataset import BaseDataset
from saip.registry import DATASETS


class AttributeImages(StandIns, BaseDataset):
    """Images, each with a 0 or 1 for every attribute; what the data sets here share.

    A record holds ``img_path`` and ``gt_score``, (A,) float32. ``metainfo['classes']`` are the
    names of the attributes, ``metainfo['positive_ratio']`` the share of the split's images
    that show each. All annotations are read, and all images looked for, at the start.

    Args:
        data_root: folder of the data set.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        ann_file: annotation file in ``data_root``.
        data_prefix: folder of the images in ``data_root``.
        kwargs: other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``;
            ``test_mode`` is on for ``val`` and ``test`` unless it is given.

    Raises:
        FileNotFoundError: the annotation file, the folder or an image is missing.
        DataError: the annotations are of another form, or of another number of attributes.
        ValueError: there is no such split.
    """

    LAYOUT: str

    def __init__(
        self, data_root: str, split: str, ann_file: str, data_prefix: str, **kwargs: Any
    ) -> None:
        self.split = split
        kwargs.setdefault('test_mode', split in ('val', 'test'))
        super().__init__(
            ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs
        )

    @abstractmethod
    def read_annotations(self) -> Annotations:
        """Read the images of the split."""

    def load_data_list(self) -> list[dict]:
        """Return a record per image, in the order of the annotations."""
        names, labels, attributes = self.read_annotations()
        folder = Path(self.img_prefix)
        paths = [str(folder / name) for name in names]
        require_files(paths, self.ann_file, self.LAYOUT)
        self._metainfo['classes'] = attributes
        self._metainfo['positive_ratio'] = labels.mean(0).tolist()
        scores = labels.astype(np.float32)
        return [
            dict(img_path=path, gt_score=row) for path, row in zip(paths, scores, strict=True)
        ]


@DATASETS.register_module()
class PA100K(AttributeImages):
    """PA-100K (Liu et al., HydraPlus-Net, 2017): 26 attributes, 80,000 + 10,000 + 10,000 images.

    Args:
        data_root: folder with ``annotation.mat`` and ``data/*.jpg``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        ann_file: annotation file in ``data_root``.
        data_prefix: folder of the images in ``data_root``.
        kwargs: see :class:`AttributeImages`.
    """

    ATTRIBUTES = 26
    LAYOUT = PA100K_LAYOUT

    def __init__(
        self,
        data_root: str,
        split: str,
        ann_file: str = 'annotation.mat',
        data_prefix: str = 'data',
        **kwargs: Any,
    ) -> None:
        super().__init__(data_root, split, ann_file, data_prefix, **kwargs)

    def read_annotations(self) -> Annotations:
        """Read ``annotation.mat``."""
        return read_pa100k(self.ann_file, self.split, self.ATTRIBUTES)


@DATASETS.register_module()
class PETAZeroShot(AttributeImages):
    """PETA (Deng et al., 2014) in the zero-shot split of Jia et al. (2021), 35 attributes.

    No person of the test images is in the others.

    Args:
        data_root: folder with ``peta_zs.json`` and ``images/*.png``.
        split: ``train``, ``val``, ``trainval`` or ``test``.
        ann_file: annotation file in ``data_root``.
        data_prefix: folder of the images in ``data_root``.
        kwargs: see :class:`AttributeImages`.
    """

    ATTRIBUTES = 35
    LAYOUT = PETA_LAYOUT

    def __init__(
        self,
        data_root: str,
        split: str,
        ann_file: str = 'peta_zs.json',
        data_prefix: str = 'images',
        **kwargs: Any,
    ) -> None:
        super().__init__(data_root, split, ann_file, data_prefix, **kwargs)

    def read_annotations(self) -> Annotations:
        """Read the converted split."""
        return read_attribute_json(self.ann_file, self.split, self.ATTRIBUTES)
