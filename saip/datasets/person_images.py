"""Unlabeled images of persons: the data set of pretraining."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.logging import print_log
from torch import Tensor

from saip.errors import InputError, one_line, printable
from saip.registry import DATASETS

from .canvas import ImageError, read_canvas
from .crops import Crop, DataError, crop_key, pack_crop, path_hash, unpack_crop
from .keypoints import Keypoints
from .sources import Storage, open_source

MIN_HELD_BACK, MAX_HELD_BACK = 2, 1000
MAX_REPLACEMENTS = 10


def held_back_paths(paths: Sequence[str], holdout: float | int) -> frozenset[str]:
    """Choose the images that are never trained on.

    An image's place in the choice depends on its path alone: the same files are held back on
    every machine and in every run.

    Args:
        paths: of all images; repetitions (several boxes in one image) do not count.
        holdout: below 1 a share of the images, of which at least 2 are taken, without which
            there is no recall to measure, and at most 1,000, enough to measure it whatever the
            size of the set; from 1 on their number.

    Raises:
        DataError: nothing would be left on one of the two sides.
    """
    unique = set(paths)
    count = int(holdout)
    if holdout < 1:
        count = min(max(round(holdout * len(unique)), MIN_HELD_BACK), MAX_HELD_BACK)
    if not 0 < count < len(unique):
        raise DataError(
            f'holdout={holdout} of {len(unique)} images holds back {count}: '
            'both parts need at least one'
        )
    return frozenset(heapq.nsmallest(count, unique, key=lambda path: (path_hash(path), path)))


@DATASETS.register_module()
class PersonImages(BaseDataset):
    """Images, or boxes in images, each squeezed to one small uint8 canvas.

    A sample is a dict of tensors that ``default_collate`` can batch: ``canvas`` (3, Hc, Wc)
    uint8 RGB, ``size`` (2,) the (h, w) of the image or crop before it was squeezed, ``key`` a
    63-bit hash of path and box, ``index`` its position, and ``replaced``, which is -1, or the
    position of the bad sample that this one stands in for. With a file of keypoints there is
    ``keypoints`` (17, 3) float32: x, y and score of COCO's joints in pixels of the image or crop
    before it was squeezed, NaN where the file has none for it.

    An image that cannot be read is named in a warning (once in each worker process) and
    replaced by the sample 1, 2, 4 ... positions further on. ``saip.BadFilesHook`` counts these
    and stops the run when they are many.

    Args:
        data_root: a folder, which is searched for images, or an LMDB of encoded images.
        ann_file: lists the images, relative to ``data_root``: ``.txt`` one path per line,
            ``.tsv`` a manifest made by ``tools/dataset_converters``, ``.json`` boxes in COCO
            format, of which those of single persons are cut out. If empty, the file
            ``saip_manifest.tsv`` in ``data_root`` is taken, else all images below it.
        data_prefix: where the images are, relative to ``data_root``; for a manifest it
            replaces the place that the manifest names.
        canvas: (height, width) in pixels.
        holdout: images that are held back from training, see :func:`held_back_paths`; 0
            holds none back.
        part: ``train``, or ``held_back`` for the images that ``holdout`` takes away.
        keypoints: file made by ``tools/dataset_converters/make_keypoints.py``, a path of its own
            and not one relative to ``data_root``; None for none.
        indices: use the first so many samples, or these ones.
        lazy_init: do not read the listing yet.

    Raises:
        FileNotFoundError: a folder, a listing or an image that it names is not there.
        DataError: the listing is malformed, there is no image, or the keypoints are no such file
            or belong to other images, or to these in other pixels.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str = '',
        data_prefix: str = '',
        canvas: Sequence[int] = (320, 160),
        holdout: float | int = 0,
        part: str = 'train',
        keypoints: str | None = None,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        if len(canvas) != 2 or not all(isinstance(n, int) and n > 0 for n in canvas):
            raise InputError(f'canvas is (height, width) in pixels, not {canvas!r}')
        if part not in ('train', 'held_back'):
            raise InputError(f'part is train or held_back, not {part!r}')
        if holdout < 0 or (part == 'held_back' and holdout == 0):
            raise InputError(
                f'part={part!r} with holdout={holdout!r}: give a share or a number'
            )
        self.canvas = (canvas[0], canvas[1])
        self.holdout = holdout
        self.part = part
        self.prefix = data_prefix
        self.listing = ann_file
        self.keypoints = None if keypoints is None else Keypoints.read(keypoints)
        self._all_have_keypoints = False
        self._named: set[int] = set()
        super().__init__(data_root=data_root, indices=indices, lazy_init=lazy_init)

    def load_data_list(self) -> list[Any]:
        """Return path and box of every sample, packed: a set may have millions of them."""
        storage, crops, where = open_source(self.data_root, self.listing, self.prefix)
        self.storage: Storage = storage
        if self.keypoints is not None:
            keys = [crop_key(crop) for crop in crops]
            self.keypoints.require_some(keys, where)
            self.keypoints.check_samples(storage, crops, keys)
        if self.holdout:
            held_back = held_back_paths([crop.path for crop in crops], self.holdout)
            wanted = self.part == 'held_back'
            crops = [crop for crop in crops if (crop.path in held_back) == wanted]
        print_log(f'{len(crops):,} samples ({self.part}) from {where}', 'current')
        if self.keypoints is not None:
            found = self.keypoints.count([crop_key(crop) for crop in crops])
            self._all_have_keypoints = found == len(crops)
            print_log(
                f'keypoints of {found:,} of these samples from {self.keypoints.path}',
                'current',
                logging.INFO if found == len(crops) else logging.WARNING,
            )
        return [pack_crop(crop) for crop in crops]

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """Join the samples in one block of memory, which worker processes share."""
        ends = np.cumsum(np.fromiter(map(len, self.data_list), np.int64, len(self.data_list)))
        block = np.frombuffer(b''.join(self.data_list), np.uint8)
        self.data_list.clear()
        return block, ends

    @force_full_init
    def crop(self, index: int) -> Crop:
        """Return path and box of a sample."""
        position = range(len(self.data_address))[index]
        start = self.data_address[position - 1] if position else 0
        return unpack_crop(self.data_bytes[start : self.data_address[position]].tobytes())

    def get_data_info(self, idx: int) -> dict:
        """Return path, box and position of a sample."""
        return {**self.crop(idx)._asdict(), 'sample_idx': range(len(self))[idx]}

    def name(self, index: int) -> str:
        """Return a sample's path and box for messages, as one line."""
        crop = self.crop(index)
        path = printable(crop.path)
        return path if crop.box is None else f'{path} {crop.box}'

    def key(self, index: int) -> int:
        """Return the 63-bit hash of a sample, which does not depend on its position."""
        return crop_key(self.crop(index))

    @force_full_init
    def without_keypoints(self) -> list[int]:
        """Return the positions of the samples without keypoints: all, if there is no file."""
        if self.keypoints is None:
            return list(range(len(self)))
        if self._all_have_keypoints:  # of a large set only the listing knows it at once
            return []
        lacks = self.keypoints.lacks(map(self.key, range(len(self))))
        return np.flatnonzero(lacks).tolist()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one sample, or the one that replaces it.

        Raises:
            IndexError: ``index`` is out of range.
            ImageError: the sample and all that could replace it are bad.
        """
        asked = range(len(self))[index]
        for position in self._attempts(asked):
            crop = self.crop(position)
            try:
                canvas, size = read_canvas(self.storage.read(crop.path), self.canvas, crop.box)
            except (ImageError, OSError) as error:
                self._warn(position, error)
                continue
            sample = {
                'canvas': canvas,
                'size': torch.tensor(size),
                'key': torch.tensor(crop_key(crop)),
                'index': torch.tensor(position),
                'replaced': torch.tensor(-1 if position == asked else asked),
            }
            if self.keypoints is not None:
                sample['keypoints'] = torch.from_numpy(self.keypoints.of(crop_key(crop)))
            return sample
        raise ImageError(
            f'{self.name(asked)} and {MAX_REPLACEMENTS} images after it cannot be read: '
            f'is {self.data_root} still there?'
        )

    def _attempts(self, asked: int) -> Iterator[int]:
        """Yield a position and those that may replace it, in growing distance."""
        yield asked
        for power in range(MAX_REPLACEMENTS):
            yield (asked + 2**power) % len(self)

    def _warn(self, index: int, error: Exception) -> None:
        if index not in self._named:
            self._named.add(index)
            print_log(
                f'bad image replaced: {self.name(index)} in {self.data_root}: {one_line(error)}',
                'current',
                logging.WARNING,
            )
