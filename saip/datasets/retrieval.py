"""Query and gallery of a re-identification set in the layout of Market-1501."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from PIL import Image

from saip.datasets.canvas import decode_image
from saip.datasets.crops import DataError
from saip.datasets.readable import require_readable
from saip.errors import InputError, MissingFileError
from saip.registry import DATASETS

NAME = re.compile(r'(-1|\d+)_c(\d+)s(\d+)_(\d+)(?:_(\d+))?\.(?:jpg|jpeg|png)', re.IGNORECASE)
EXPECTED = 'IDENTITY_cCAMERAsSEQUENCE_FRAME_BOX.jpg, for example 0002_c1s1_000451_03.jpg'
JUNK, DISTRACTOR = -1, 0
# The published archive holds it; it is no image.
IGNORED = ('Thumbs.db',)


@DATASETS.register_module()
class RetrievalImages(BaseDataset):
    """Images of a retrieval evaluation: all queries, then the gallery.

    Identity -1 (junk) is not read, identity 0 (distractors) stays in the gallery and matches
    no query. A query whose identity no other camera shows in the gallery cannot be answered: it
    is left out and named in a warning. ``metainfo['num_query']`` is the number of queries.

    A sample is a dict of ``image`` (3, h, w) uint8 RGB, and int64 tensors ``pid``, ``camid``,
    ``is_query`` (1 or 0) and ``index``.

    Args:
        data_root: folder of the set.
        size: (h, w) of the samples; the whole image is resized (bicubic, antialiased).
        data_prefix: folders of ``query`` and ``gallery`` in ``data_root``.
        lazy_init: do not read the folders before they are needed.

    Raises:
        FileNotFoundError: a folder is missing or holds no usable image.
        DataError: a file has another name than the layout's, no query can be answered, or images
            cannot be read; see :mod:`saip.datasets.readable` for why these are not passed over.
    """

    def __init__(
        self,
        data_root: str,
        size: Sequence[int] = (256, 128),
        data_prefix: dict[str, str] | None = None,
        lazy_init: bool = False,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise InputError(f'size must be (height, width) in pixels, not {size}')
        self.size = (int(size[0]), int(size[1]))
        folders = {'query': 'query', 'gallery': 'bounding_box_test'}
        super().__init__(
            data_root=data_root,
            data_prefix=folders if data_prefix is None else data_prefix,
            test_mode=True,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        """Read both folders and return a record per image, queries first."""
        queries = read_folder(Path(self.data_prefix['query']), is_query=True)
        gallery = read_folder(Path(self.data_prefix['gallery']), is_query=False)
        queries = keep_answerable(queries, gallery, self.data_root)
        self._metainfo['num_query'] = len(queries)
        require_readable((r['img_path'] for r in queries + gallery), str(self.data_root))
        return queries + gallery

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Read one sample.

        Raises:
            ValueError: the image cannot be decoded.
        """
        record = self.get_data_info(idx)
        height, width = self.size
        image = Image.fromarray(decode_image(record['img_path']))
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return {
            'image': torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous(),
            'pid': torch.tensor(record['pid']),
            'camid': torch.tensor(record['camid']),
            'is_query': torch.tensor(record['is_query']),
            'index': torch.tensor(record['sample_idx']),
        }


def parse_name(name: str) -> tuple[int, int]:
    """Return identity and camera of a Market-1501 file name.

    Raises:
        ValueError: the name has another form.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f'expected a name like {EXPECTED}')
    return int(match[1]), int(match[2])


def read_folder(folder: Path, is_query: bool) -> list[dict]:
    """Return a record per image of a folder in Market-1501 layout, junk left out.

    A record is ``img_path``, ``pid``, ``camid`` and ``is_query`` (1 or 0).

    Raises:
        FileNotFoundError: the folder is missing or holds no usable image.
        DataError: a file has another name than the layout's, or a query has no identity.
    """
    if not folder.is_dir():
        raise MissingFileError(
            f'no folder {folder}: a set in Market-1501 layout has bounding_box_train/ (for '
            'training), query/ and bounding_box_test/'
        )
    records = []
    for path in sorted(folder.iterdir()):
        if path.name in IGNORED or path.name.startswith('.'):
            continue
        try:
            pid, camid = parse_name(path.name)
        except ValueError as error:
            raise DataError(f'{path}: {error}') from None
        if is_query and pid in (JUNK, DISTRACTOR):
            raise DataError(f'{path}: a query needs an identity from 1 on, this one has {pid}')
        if pid != JUNK:
            record = dict(img_path=str(path), pid=pid, camid=camid, is_query=int(is_query))
            records.append(record)
    if not records:
        raise MissingFileError(f'{folder} holds no image: expected names like {EXPECTED}')
    return records


def unanswerable(queries: list[dict], gallery: list[dict]) -> list[dict]:
    """Return the queries whose identity no other camera shows in the gallery."""
    cameras: dict[int, set[int]] = {}
    for record in gallery:
        cameras.setdefault(record['pid'], set()).add(record['camid'])
    return [
        query for query in queries if not cameras.get(query['pid'], set()) - {query['camid']}
    ]


def keep_answerable(queries: list[dict], gallery: list[dict], root: str) -> list[dict]:
    """Return the queries that can be answered, and name the others in a warning.

    Raises:
        DataError: none can be answered.
    """
    left_out = unanswerable(queries, gallery)
    if len(left_out) == len(queries):
        raise DataError(
            f'{root}: no query has a gallery image of its identity by another camera, so '
            f'nothing can be retrieved; the first query is {queries[0]["img_path"]}'
        )
    if left_out:
        names = ', '.join(Path(query['img_path']).name for query in left_out[:10])
        more = f' and {len(left_out) - 10} more' if len(left_out) > 10 else ''
        print_log(
            f'{root}: {len(left_out)} of {len(queries)} queries are left out, since no other '
            f'camera shows their identity in the gallery: {names}{more}',
            logger='current',
            level=logging.WARNING,
        )
    paths = {query['img_path'] for query in left_out}
    return [query for query in queries if query['img_path'] not in paths]
