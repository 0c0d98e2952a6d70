"""Market-1501 and MSMT17 as they are published."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from saip.datasets.crops import DataError
from saip.datasets.files import read_text, require_files
from saip.datasets.readable import MAX_STAND_INS, StandIns
from saip.datasets.retrieval import DISTRACTOR, keep_answerable, read_folder, unanswerable
from saip.downstream.base_dataset import BaseDataset
from saip.errors import InputError, MissingFileError
from saip.registry import DATASETS

Records = list[dict[str, Any]]
SPLITS = ('train', 'test')


class ReIDImages(StandIns, BaseDataset):
    """Images of persons, each with an identity and a camera.

    A record is ``img_path``, ``gt_label``, ``pid``, ``camid`` and ``is_query`` (1 or 0). In
    training ``gt_label`` counts the identities from 0, in the test it is ``pid``. The test set
    is all queries, then the gallery. ``metainfo['classes']`` are the training identities.

    Args:
        data_root: folder of the data set.
        split: ``train``, or ``test`` for queries and gallery.
        skip_unanswerable: leave out queries whose identity no other camera shows in the
            gallery, with a warning that names them, instead of stopping.
        kwargs: other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``.

    Raises:
        FileNotFoundError: a folder, a list or an image is missing.
        DataError: a file has another name or form than the layout's, or a query cannot be
            answered.
    """

    def __init__(
        self, data_root: str, split: str, skip_unanswerable: bool = False, **kwargs: Any
    ) -> None:
        if split not in SPLITS:
            raise InputError(f'split={split!r}: choose one of {", ".join(SPLITS)}')
        self.split = split
        self.skip_unanswerable = skip_unanswerable
        super().__init__(ann_file='', data_root=data_root, test_mode=split == 'test', **kwargs)

    @abstractmethod
    def read_train(self) -> Records:
        """Read the training images."""

    @abstractmethod
    def read_test(self) -> tuple[Records, Records]:
        """Read queries and gallery."""

    def load_data_list(self) -> Records:
        """Return a record per image."""
        if self.split == 'test':
            queries, gallery = self.read_test()
            queries = self._check_queries(queries, gallery)
            return [{**record, 'gt_label': record['pid']} for record in queries + gallery]
        records = self.read_train()
        identities = sorted({record['pid'] for record in records})
        self._metainfo['classes'] = tuple(str(pid) for pid in identities)
        labels = {pid: label for label, pid in enumerate(identities)}
        return [{**record, 'gt_label': labels[record['pid']]} for record in records]

    def stand_ins(self, index: int) -> Iterator[int]:
        """Yield images of the same identity first, which a batch has several of."""
        label = self.get_cat_ids(index)
        others = (n for n in range(len(self)) if n != index and self.get_cat_ids(n) == label)
        yield from islice(others, MAX_STAND_INS)
        yield from super().stand_ins(index)

    def _check_queries(self, queries: Records, gallery: Records) -> Records:
        if self.skip_unanswerable:
            return keep_answerable(queries, gallery, self.data_root)
        lonely = unanswerable(queries, gallery)
        if lonely:
            raise DataError(
                f'{lonely[0]["img_path"]}: the gallery shows identity {lonely[0]["pid"]} under '
                f'no camera but {lonely[0]["camid"]}, which took this query, so it cannot be '
                f'answered, nor can {len(lonely) - 1} more of {len(queries)} queries. The '
                'gallery needs an image of each by another camera; skip_unanswerable=True '
                'leaves these queries out'
            )
        return queries


@DATASETS.register_module()
class Market1501(ReIDImages):
    """Market-1501 (Zheng et al., 2015), 751 identities in training and 750 in the test.

    ``data_root`` is the published folder (Market-1501-v15.09.15) with ``bounding_box_train``,
    ``query`` and ``bounding_box_test``, whose files are named IDENTITY_cCAMERAsSEQUENCE_... .
    Junk (identity -1) is not read, distractors (identity 0) stay in the gallery. Arguments are
    those of :class:`ReIDImages`.
    """

    def read_train(self) -> Records:
        """Read ``bounding_box_train``."""
        records = read_folder(Path(self.data_root, 'bounding_box_train'), is_query=False)
        for record in records:
            if record['pid'] == DISTRACTOR:
                raise DataError(
                    f'{record["img_path"]}: identity 0 marks distractors, which belong into '
                    'bounding_box_test/; training identities count from 1'
                )
        return records

    def read_test(self) -> tuple[Records, Records]:
        """Read ``query`` and ``bounding_box_test``."""
        root = Path(self.data_root)
        queries = read_folder(root / 'query', is_query=True)
        return queries, read_folder(root / 'bounding_box_test', is_query=False)


@DATASETS.register_module()
class MSMT17(ReIDImages):
    """MSMT17 (Wei et al., 2018), 1,041 identities in training and 3,060 in the test.

    ``data_root`` is the published folder (MSMT17_V1) with ``list_train.txt``, ``list_val.txt``,
    ``list_query.txt``, ``list_gallery.txt`` and the images. A line is a path, whose third
    field is the camera, and an identity: ``0000/0000_000_01_0303morning_0008_0.jpg 0``.
    Training is the union of the lists train and val, as in the baselines.

    Args:
        data_root: folder of the data set.
        split: ``train`` or ``test``.
        train_folder: of the images of the training lists; in V2 ``mask_train_v2``.
        test_folder: of the images of the test lists; in V2 ``mask_test_v2``.
        kwargs: see :class:`ReIDImages`.
    """

    LINE = re.compile(r'((?:\S+/)?\d+_\d+_(\d+)_[^/\s]+) (\d+)')
    EXAMPLE = '0000/0000_000_01_0303morning_0008_0.jpg 0'
    LAYOUT = (
        'MSMT17 has list_train.txt, list_val.txt, list_query.txt, list_gallery.txt and the '
        'images in train/ and test/'
    )

    def __init__(
        self,
        data_root: str,
        split: str,
        train_folder: str = 'train',
        test_folder: str = 'test',
        **kwargs: Any,
    ) -> None:
        self.train_folder = train_folder
        self.test_folder = test_folder
        super().__init__(data_root, split, **kwargs)

    def read_train(self) -> Records:
        """Read the lists train and val."""
        lists = ('list_train.txt', 'list_val.txt')
        return [r for name in lists for r in self._read_list(name, self.train_folder, 0)]

    def read_test(self) -> tuple[Records, Records]:
        """Read the lists query and gallery."""
        queries = self._read_list('list_query.txt', self.test_folder, 1)
        return queries, self._read_list('list_gallery.txt', self.test_folder, 0)

    def _read_list(self, name: str, folder: str, is_query: int) -> Records:
        path, images = Path(self.data_root, name), Path(self.data_root, folder)
        if not path.is_file():
            raise MissingFileError(f'no list {path}: {self.LAYOUT}')
        if not images.is_dir():
            raise MissingFileError(
                f'no folder {images}: {self.LAYOUT}; in V2 the folders are mask_train_v2/ and '
                'mask_test_v2/, set train_folder and test_folder of the data set'
            )
        names, records = [], []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            match = self.LINE.fullmatch(line.strip())
            if match is None:
                raise DataError(
                    f'{path}:{number}: {line.strip()!r} is not PATH IDENTITY with the camera as '
                    f'third field of the path, such as {self.EXAMPLE}'
                )
            names.append(str(images / match[1]))
            record = dict(pid=int(match[3]), camid=int(match[2]), is_query=is_query)
            records.append({'img_path': names[-1], **record})
        if not records:
            raise DataError(f'{path} is empty: expected lines like {self.EXAMPLE}')
        require_files(names, str(path), self.LAYOUT)
        return records
